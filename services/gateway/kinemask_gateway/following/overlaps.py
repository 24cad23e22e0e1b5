"""How much masks of one frame cover each other, without decoding more of them than they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask_gateway.live.objects import BoxXyxy, area, contained, iou
from kinemask_gateway.tracks.values import TrackedObject

Size = tuple[int, int]
"""Height and width in pixels."""

_HIDDEN_SHARE = 0.8


def boxes_of(a: TrackedObject, b: TrackedObject) -> tuple[BoxXyxy, BoxXyxy] | None:
    """Both boxes, if both are there."""
    return None if a.box_xyxy is None or b.box_xyxy is None else (a.box_xyxy, b.box_xyxy)


def mask_overlap(a: TrackedObject, b: TrackedObject, size: Size) -> tuple[float, float]:
    """Their IoU, and the share of `a` inside `b`: both 0..1. Blocking."""
    boxes = boxes_of(a, b)
    if boxes is None or iou(*boxes) == 0.0:
        return 0.0, 0.0
    shared = int(np.count_nonzero(a.mask(*size) & b.mask(*size)))
    return shared / max(a.area_px + b.area_px - shared, 1), shared / max(a.area_px, 1)


def lies_on(
    entry: TrackedObject, others: Sequence[TrackedObject], size: Size, same_iou: float
) -> bool:
    """True if a mask lies on another object's: it is the same thing, or hidden behind it."""
    for other in others:
        boxes = boxes_of(entry, other)
        if boxes is None or other.object_id == entry.object_id:
            continue
        if contained(*boxes) < _HIDDEN_SHARE / 2 or area(boxes[0]) <= 0:
            continue
        overlap, inside = mask_overlap(entry, other, size)
        if inside > _HIDDEN_SHARE or (entry.prompt == other.prompt and overlap > same_iou):
            return True
    return False
