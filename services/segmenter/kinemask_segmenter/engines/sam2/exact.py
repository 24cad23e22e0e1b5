"""The tier `exact`: the official arithmetic, bit for bit, without work that is done twice.

Every number is made by the same operation from the same numbers as in PyPI `sam2`. Left out is only
what gives nothing new: positions that depend on the size alone are kept, the first layer's
self-attention of a frame is shared by its objects, positions are added to memory once for all
layers, and keys are rotated where they lie. Blocks with windows run strip by strip where that gives
the same bits, which is tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate, scaled_dot_product_attention

from kinemask_segmenter.engines.sam2.attention import start
from kinemask_segmenter.engines.sam2.encoder import by_strips, tensor
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.places import Places
from kinemask_segmenter.engines.sam2.tokens import Tokens


class ExactEncoder:
    """Pictures to features, one by one."""

    def __init__(self, model: Any) -> None:
        """`model` is a `sam2` `SAM2Base`."""
        self._model = model
        self._places = Places(model)
        self._same: dict[tuple[object, ...], bool] = {}
        """Whether a block gives the same bits by strips, for a size and a number of threads."""

    def __call__(self, pictures: torch.Tensor) -> list[Encoded]:
        """`(B, 3, S, S)` float32, normalised."""
        return [self._one(each[None]) for each in pictures]

    def _one(self, picture: torch.Tensor) -> Encoded:
        model = self._model
        levels = self._pyramid(self._hiera(picture))
        levels = levels[: len(levels) - model.image_encoder.scalp]
        if model.use_high_res_features_in_sam:
            decoder = model.sam_mask_decoder
            levels[:2] = decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])
        levels = levels[-model.num_feature_levels :]
        return Encoded(
            [each.flatten(2).permute(2, 0, 1) for each in levels],
            [self._places.of_level(levels[-1])],
            [(int(each.shape[-2]), int(each.shape[-1])) for each in levels],
        )

    def _hiera(self, picture: torch.Tensor) -> list[torch.Tensor]:
        """`(1, C_i, H_i, W_i)` at the end of each stage."""
        trunk = self._model.image_encoder.trunk
        seen = trunk.patch_embed(picture)
        seen = seen + self._places.of_patches(seen)
        ends = []
        for number, block in enumerate(trunk.blocks):
            seen = self._through(number, block, seen)
            if number in trunk.stage_ends:
                ends.append(seen.permute(0, 3, 1, 2))
        return ends

    def _through(self, number: int, block: Any, seen: torch.Tensor) -> torch.Tensor:
        """One block. Windows do not see each other, so strips differ from the whole at most in the
        order in which a library adds: that depends on shapes and threads, not on what is added, so
        one picture tells."""
        if not block.window_size or seen.is_cuda:
            return tensor(block(seen))
        key = (number, seen.shape, torch.get_num_threads())
        if key not in self._same:
            whole = tensor(block(seen))
            self._same[key] = torch.equal(whole, by_strips(block, seen))
            return whole
        return by_strips(block, seen) if self._same[key] else tensor(block(seen))

    def _pyramid(self, ends: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """`(1, 256, H_i, W_i)`, the finest first; made from the coarsest on."""
        neck = self._model.image_encoder.neck
        levels: list[torch.Tensor] = []
        for lateral, number in zip(neck.convs, reversed(range(len(ends))), strict=True):
            level = lateral(ends[number])
            if levels and number in neck.fpn_top_down_levels:
                level = level + _doubled(levels[0], neck.fpn_interp_model)
                if neck.fuse_type == "avg":
                    level /= 2
            levels.insert(0, level)
        return levels


def _doubled(level: torch.Tensor, mode: str) -> torch.Tensor:
    corners = None if mode == "nearest" else False
    return interpolate(level.float(), scale_factor=2.0, mode=mode, align_corners=corners)


class ExactAttention:
    """Memory attention, one object at a time."""

    def __init__(self, module: Any) -> None:
        """`module` is a `sam2` `MemoryAttention`.

        Raises:
            ValueError: its layers do not rotate what they read.
        """
        if not all(hasattr(layer.cross_attn_image, "compute_cis") for layer in module.layers):
            raise ValueError("expected memory attention with rotary positions")
        self._module = module
        self._turns: dict[int, torch.Tensor] = {}

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        """See `Attention`."""
        seen = [self._one(frame, past) for frame, past in zip(frames, tokens, strict=True)]
        return seen[0] if len(seen) == 1 else torch.cat(seen, 1)

    def _one(self, frame: Encoded, past: Tokens) -> torch.Tensor:
        position = frame.positions[-1].transpose(0, 1)
        memory, places = past.memory.transpose(0, 1), past.positions.transpose(0, 1)
        placed = memory + places
        seen = self._alone(frame, position)
        for number, layer in enumerate(self._module.layers):
            if number > 0:
                seen = layer._forward_sa(seen, position)
            asked = layer.norm2(seen)
            if layer.pos_enc_at_cross_attn_queries:
                asked = asked + position
            known = placed if layer.pos_enc_at_cross_attn_keys else memory
            rotated = memory.shape[1] - past.pointer_tokens
            seen = seen + self._read(layer.cross_attn_image, asked, known, memory, rotated)
            seen = seen + layer.linear2(layer.activation(layer.linear1(layer.norm3(seen))))
        found: torch.Tensor = self._module.norm(seen).transpose(0, 1)
        return found

    def _alone(self, frame: Encoded, position: torch.Tensor) -> torch.Tensor:
        """The first layer's self-attention, the frame's alone."""
        if not frame.attended:
            begun = start(self._module, frame).transpose(0, 1)
            frame.attended = (self._module.layers[0]._forward_sa(begun, position),)
        (seen,) = frame.attended
        return seen

    def _read(
        self,
        attention: Any,
        asked: torch.Tensor,
        known: torch.Tensor,
        memory: torch.Tensor,
        rotated: int,
    ) -> torch.Tensor:
        """Cross-attention; the first `rotated` tokens have a place in the picture."""
        queries, keys, values = (
            attention._separate_heads(each, attention.num_heads)
            for each in (attention.q_proj(asked), attention.k_proj(known), attention.v_proj(memory))
        )
        turns = self._rotations(attention, queries)
        _rotate(queries, turns)
        _rotate(keys[:, :, :rotated], turns)
        found = scaled_dot_product_attention(queries, keys, values)
        read: torch.Tensor = attention.out_proj(attention._recombine_heads(found))
        return read

    def _rotations(self, attention: Any, queries: torch.Tensor) -> torch.Tensor:
        """`(N, C / 2)` complex: the rotary position of every place; all layers have the same."""
        count = int(queries.shape[-2])
        if count not in self._turns:
            side = math.sqrt(count)
            turns = attention.compute_cis(end_x=side, end_y=side)
            self._turns[count] = turns.to(queries.device)
        return self._turns[count]


def _rotate(each: torch.Tensor, turns: torch.Tensor) -> None:
    """Turn pairs of channels `(B, heads, maps * N, C)` in place, as complex numbers."""
    pairs = torch.view_as_complex(each.unflatten(-1, (-1, 2)))
    pairs.unflatten(2, (-1, len(turns))).mul_(turns)
