"""The image encoder, with its steps reordered: the same features sooner.

- Windows do not see each other: blocks with windows run strip by strip, so that what is between
  their layers stays in the cache.
- The two finest levels of the pyramid are projected twice in a row (Hiera to 256 channels, those to
  the decoder's 32 and 64): the two projections are one.
- Positions depend on the size alone, and are worked out once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear

from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.places import Places

_STRIP_NUMBERS = 1 << 19
"""Numbers that a strip has between two blocks, about; measured to be best on CPUs."""


class FastEncoder:
    """Pictures to features.

    Made for what every published SAM 2 has: a Hiera trunk, a pyramid of 1x1 convolutions whose two
    finest levels stand alone, high-resolution features in the decoder.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        """`model` is a `sam2` `SAM2Base` whose image encoder is of `dtype` already.

        Raises:
            ValueError: its encoder is built another way.
        """
        neck, decoder = model.image_encoder.neck, model.sam_mask_decoder
        if model.image_encoder.scalp != 1 or not model.use_high_res_features_in_sam:
            raise ValueError("expected an encoder of three levels with high-resolution features")
        if neck.fpn_top_down_levels != [2, 3] or neck.fuse_type != "sum":
            raise ValueError("expected a pyramid whose two finest levels stand alone")
        if neck.fpn_interp_model != "nearest" or len(neck.convs) != 4:
            raise ValueError("expected a pyramid of four levels that repeats its coarser ones")
        self._trunk = model.image_encoder.trunk
        self._places = Places(model)
        self._dtype = dtype
        coarse = [_matrix(each.conv, dtype) for each in neck.convs[:2]]
        fine = [
            _joined(lateral.conv, own, dtype)
            for lateral, own in zip(
                (neck.convs[3], neck.convs[2]), (decoder.conv_s0, decoder.conv_s1), strict=True
            )
        ]
        self._levels = [*fine, coarse[1], coarse[0]]

    def __call__(self, pictures: torch.Tensor) -> list[Encoded]:
        """`(B, 3, S, S)` float32, normalised."""
        if pictures.is_cuda:
            return self.encoded(pictures)
        return [found for each in pictures for found in self.encoded(each[None])]

    def encoded(self, pictures: torch.Tensor) -> list[Encoded]:
        """As a call, all in one batch: what suits a GPU."""
        levels = [
            linear(seen, *weights)
            for seen, weights in zip(self._hiera(pictures), self._levels, strict=True)
        ]
        coarsest = levels.pop()
        levels[2] = levels[2] + coarsest.repeat_interleave(2, 1).repeat_interleave(2, 2)
        sizes = [(int(each.shape[1]), int(each.shape[2])) for each in levels]
        flat = [each.flatten(1, 2).transpose(0, 1) for each in levels]
        position = self._places.of_level(levels[2].permute(0, 3, 1, 2))
        return [
            Encoded([_entry(each, number) for each in flat], [position], sizes)
            for number in range(len(pictures))
        ]

    def _hiera(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """`(B, H_i, W_i, C_i)` at the end of each stage."""
        trunk = self._trunk
        seen = trunk.patch_embed(pictures.to(self._dtype))
        seen = seen + self._places.of_patches(seen)
        ends = []
        for number, block in enumerate(trunk.blocks):
            seen = self._through(block, seen)
            if number in trunk.stage_ends:
                ends.append(seen)
        return ends

    def _through(self, block: Any, seen: torch.Tensor) -> torch.Tensor:
        if block.window_size and not seen.is_cuda:
            return by_strips(block, seen)
        return tensor(block(seen))


def tensor(found: Any) -> torch.Tensor:
    assert isinstance(found, torch.Tensor)
    return found


def by_strips(block: Any, seen: torch.Tensor) -> torch.Tensor:
    """A block with windows on rows of windows, some at a time."""
    window = int(block.window_size)
    row = window * seen.shape[2] * seen.shape[3]
    rows = window * max(1, round(_STRIP_NUMBERS / row))
    return torch.cat([block(strip) for strip in seen.split(rows, 1)], 1)


def _entry(level: torch.Tensor, number: int) -> torch.Tensor:
    """One picture's `(N, 1, C)` of `(N, B, C)`; a copy where a part would keep all alive."""
    return level if level.shape[1] == 1 else level[:, number : number + 1].clone()


def _matrix(conv: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A 1x1 convolution as a linear layer's weights."""
    weight = conv.weight.detach()
    if weight.shape[2:] != (1, 1):
        raise ValueError(f"expected a 1x1 convolution, got {tuple(weight.shape)}")
    return weight[:, :, 0, 0].to(dtype), conv.bias.detach().to(dtype)


def _joined(first: Any, second: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """One 1x1 convolution after another as one linear layer."""
    (weight, bias), (then, shift) = _matrix(first, torch.float64), _matrix(second, torch.float64)
    return (then @ weight).to(dtype), (then @ bias + shift).to(dtype)
