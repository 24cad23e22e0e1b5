"""The model's arithmetic: pictures to features, and objects on frames to masks and memory.

Algorithm: Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), in the order of
operations of the official `SAM2VideoPredictor`. Run one by one with the official attention, results
are equal bit for bit; run as batches they differ in the last bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch.nn.functional import interpolate

from kinemask_segmenter.engines.sam2.attention import Attention
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.holes import fill_holes
from kinemask_segmenter.engines.sam2.memory import Output
from kinemask_segmenter.engines.sam2.tokens import Past, Tokenizer

_LOGIT_LIMIT = 32.0
_PLACES = 4096
"""Of features, in one batch on a CPU; one picture of 1024 px has as many."""


@dataclass(frozen=True)
class Points:
    """Clicks in pixels of the model's input; a box is its two corners, labels 2 and 3, first."""

    xy: torch.Tensor
    """`(1, N, 2)` float32."""
    labels: torch.Tensor
    """`(1, N)` int32: 1 on the object, 0 beside it."""

    def to(self, device: torch.device) -> Points:
        return Points(self.xy.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Ask:
    """One object on one frame: what is known of it, and what was said."""

    frame: Encoded
    past: Past | None
    """None where the object begins."""
    points: Points | None = None
    mask: torch.Tensor | None = None
    """`(1, 1, S, S)` float32 of 0 and 1; not together with points."""
    previous: torch.Tensor | None = None
    """`(1, 1, S/4, S/4)` logits that points refine."""

    @property
    def prompted(self) -> bool:
        """What was said becomes memory; what was only followed, too, but by its own mask."""
        return self.points is not None or self.mask is not None

    @property
    def shape(self) -> tuple[object, ...]:
        """Asks of equal shape can be run as one batch."""
        clicks = None if self.points is None else self.points.labels.shape[1]
        past = None if self.past is None else self.past.shape
        return past, clicks, self.mask is not None, self.previous is not None


Heads: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Low and full resolution logits, pointers, object scores."""


class Encoder(Protocol):
    """Pictures `(B, 3, S, S)` float32 to features."""

    def __call__(self, pictures: torch.Tensor) -> list[Encoded]: ...


class Forward:
    """One model at one input size and precision; only read, so any number of streams share it.

    Calls must not overlap: models and their caches are not made for two threads.
    """

    def __init__(
        self,
        model: Any,
        attention: Attention,
        encoder: Encoder,
        *,
        batched: bool,
    ) -> None:
        """`model` is a `sam2` `SAM2Base` in eval mode.

        `batched` runs frames and objects of equal shape together.
        """
        self.model = model
        self.batched = batched
        self.attention = attention
        self.encoder = encoder
        self._tokenizer = Tokenizer(model)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def input_size_px(self) -> int:
        return int(self.model.image_size)

    @torch.inference_mode()
    def encode(self, images: Sequence[torch.Tensor]) -> list[Encoded]:
        """Features of pictures `(3, S, S)` float32, normalised."""
        groups = [images] if self.batched else [[image] for image in images]
        batches = [torch.stack(list(group)).to(self.device) for group in groups]
        return [encoded for batch in batches for encoded in self.encoder(batch)]

    @torch.inference_mode()
    def run(self, asks: Sequence[Ask], fill_hole_area_px: Sequence[int]) -> list[Output]:
        """What is on each frame of each object, in order."""
        groups: dict[object, list[int]] = {}
        for number, ask in enumerate(asks):
            groups.setdefault(ask.shape if self.batched else number, []).append(number)
        found: dict[int, Output] = {}
        for numbers in self._bounded(groups.values()):
            outputs = self._run([asks[n] for n in numbers], [fill_hole_area_px[n] for n in numbers])
            found.update(zip(numbers, outputs, strict=True))
        return [found[number] for number in range(len(asks))]

    # --- inside

    def _bounded(self, groups: Iterable[list[int]]) -> Iterator[list[int]]:
        """On a CPU a batch that leaves the cache is slower than one after another."""
        side = self.input_size_px // int(self.model.backbone_stride)
        on_cpu = self.device.type == "cpu"
        for numbers in groups:
            most = max(1, _PLACES // side**2) if on_cpu else len(numbers)
            yield from (numbers[n : n + most] for n in range(0, len(numbers), most))

    def _run(self, asks: Sequence[Ask], holes: Sequence[int]) -> list[Output]:
        """Asks of one shape."""
        levels = zip(*(ask.frame.features for ask in asks), strict=True)
        features = [_side_by_side(each) for each in levels]
        sizes = asks[0].frame.sizes
        low, high, pointers, scores = self._heads(asks, features, sizes)
        filled = torch.cat([fill_holes(low[n : n + 1], area) for n, area in enumerate(holes)])
        prompted = asks[0].prompted
        if prompted:
            # Made from the mask as it is shown: holes filled, upsampled, then binarised.
            side = self.input_size_px
            high = interpolate(filled, size=(side, side), mode="bilinear", align_corners=False)
        memory, _ = self.model._encode_new_memory(
            current_vision_feats=features,
            feat_sizes=sizes,
            pred_masks_high_res=high,
            object_score_logits=scores,
            is_mask_from_pts=prompted,
        )
        # The official predictor keeps memory as bfloat16 in every precision.
        memory = memory.to(torch.bfloat16)
        if len(asks) == 1:
            return [Output(filled, pointers, scores, memory)]
        return [
            # Copies: a part of a batch would keep all of it alive.
            Output(*(each[n : n + 1].clone() for each in (filled, pointers, scores, memory)))
            for n in range(len(asks))
        ]

    def _heads(
        self,
        asks: Sequence[Ask],
        features: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> Heads:
        model = self.model
        maps = [
            each.permute(1, 2, 0).view(each.size(1), each.size(2), *size)
            for each, size in zip(features, sizes, strict=True)
        ]
        fine = maps[:-1] if len(maps) > 1 else None
        masks = _together([ask.mask for ask in asks])
        if masks is not None and model.use_mask_input_as_output_without_sam:
            found = model._use_mask_as_output(maps[-1], fine, masks)
        else:
            points = _clicks(asks)
            previous = _together([ask.previous for ask in asks])
            if previous is not None:
                masks = previous.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
            begins = asks[0].past is None
            found = model._forward_sam_heads(
                backbone_features=self._conditioned(asks, features[-1], sizes[-1]),
                point_inputs=points,
                mask_inputs=masks,
                high_res_features=fine,
                multimask_output=model._use_multimask(begins, points),
            )
        _, _, _, low, high, pointers, scores = found
        return low, high, pointers, scores

    def _conditioned(
        self, asks: Sequence[Ask], features: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """`(B, 256, S/16, S/16)`: the picture in the light of each object's past."""
        pasts = [ask.past for ask in asks]
        if pasts[0] is None:
            seen = features + self.model.no_mem_embed
        else:
            tokens = [self._tokenizer.tokens(past) for past in pasts if past is not None]
            seen = self.attention([ask.frame for ask in asks], tokens)
        batch, channels = len(asks), self.model.hidden_dim
        return seen.permute(1, 2, 0).view(batch, channels, *size)


def _side_by_side(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """`(N, 1, C)` each to `(N, B, C)`."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors), 1)


def _together(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    there = [each for each in tensors if each is not None]
    if not there:
        return None
    return there[0] if len(there) == 1 else torch.cat(there)


def _clicks(asks: Sequence[Ask]) -> dict[str, torch.Tensor] | None:
    points = [ask.points for ask in asks if ask.points is not None]
    if not points:
        return None
    return {
        "point_coords": torch.cat([each.xy for each in points]),
        "point_labels": torch.cat([each.labels for each in points]),
    }
