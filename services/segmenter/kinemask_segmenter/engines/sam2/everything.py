"""Masks of a whole picture: a grid of clicks, and of what they give the good and different ones.

Method: Kirillov et al., "Segment Anything" (2023), appendix B, with the defaults of SAM 2's
automatic mask generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.ops import nms

from kinemask_segmenter.engines.base import BoolMask, Image, ObjectMask
from kinemask_segmenter.engines.everything import EverythingOptions
from kinemask_segmenter.engines.sam2.forward import Points
from kinemask_segmenter.engines.sam2.pictures import Embedding, PictureSegmenter, decode
from kinemask_segmenter.engines.sam2.pixels import measured

_CLICKS_A_BATCH = 64
_MASKS_AT_ONCE = 16
"""Masks at the picture's size that are in memory as numbers."""
_STABILITY_OFFSET = 1.0

ResultT = TypeVar("ResultT")
Found = list[tuple[float, BoolMask]]
"""The model's rating and the mask."""


class Device(Protocol):
    """Runs a function in the thread that owns the device."""

    def __call__(self, function: Callable[[], ResultT]) -> Awaitable[ResultT]: ...


async def segment_everything(
    device: Device,
    pictures: PictureSegmenter,
    model_of: Callable[[], Any],
    image: Image,
    options: EverythingOptions,
) -> list[ObjectMask]:
    """Masks at the picture's size, largest first; ids count from 1.

    Clicks go to the device in batches, so that streams go on in between.
    """
    model = await device(model_of)
    embedding, _ = await device(lambda: pictures.embed(model, image))
    found: Found = []
    for xy in _grid(options.points_per_side, model.image_size).split(_CLICKS_A_BATCH):
        found += await device(partial(_of_clicks, model, embedding, xy, image, options))
    return await asyncio.to_thread(_chosen, found, options)


def _chosen(found: Found, options: EverythingOptions) -> list[ObjectMask]:
    masks = [measured(0, mask, min(1.0, rating)) for rating, mask in found]
    kept = sorted(
        (masks[index] for index in _different(masks, options.overlap_threshold)),
        key=lambda mask: -mask.area_px,
    )
    return [
        ObjectMask(number, each.mask, each.score, each.box_xyxy, each.area_px)
        for number, each in enumerate(kept, 1)
    ]


def _grid(points_per_side: int, size: int) -> torch.Tensor:
    """`(N, 1, 2)` pixels of the model's input: the middles of a grid's cells."""
    middles = (torch.arange(points_per_side, dtype=torch.float32) + 0.5) / points_per_side * size
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)[:, None]


@torch.inference_mode()
def _of_clicks(
    model: Any, embedding: Embedding, xy: torch.Tensor, image: Image, options: EverythingOptions
) -> Found:
    labels = torch.ones(xy.shape[:2], dtype=torch.int32)
    logits, ratings = decode(
        model, embedding, Points(xy, labels).to(model.device), None, several=True
    )
    good = ratings.flatten() > options.score_threshold
    logits, ratings = logits.flatten(0, 1)[good], ratings.flatten()[good]
    found: Found = []
    for few, rated in zip(logits.split(_MASKS_AT_ONCE), ratings.split(_MASKS_AT_ONCE), strict=True):
        found += _stable(few, rated, image, options)
    return found


def _stable(
    logits: torch.Tensor, ratings: torch.Tensor, image: Image, options: EverythingOptions
) -> Found:
    """Those whose outline hardly depends on the cut-off, and that are large enough."""
    size = image.shape[:2]
    large = interpolate(logits[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
    strict = (large > _STABILITY_OFFSET).sum((1, 2))
    loose = (large > -_STABILITY_OFFSET).sum((1, 2))
    masks = large > 0
    area = masks.sum((1, 2))
    good = strict / loose.clamp(min=1) >= options.stability_threshold
    good &= area >= max(1, options.min_area_px)
    kept = masks[good].cpu().numpy()
    return [(rating.item(), mask) for rating, mask in zip(ratings[good], kept, strict=True)]


def _different(masks: list[ObjectMask], max_iou: float) -> list[int]:
    """Greedy suppression by box, the best rated first; indices."""
    boxes = torch.tensor(np.array([mask.box_xyxy for mask in masks], np.float32).reshape(-1, 4))
    scores = torch.tensor([mask.score for mask in masks])
    kept: list[int] = nms(boxes, scores, max_iou).tolist()
    return kept
