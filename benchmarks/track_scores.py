"""How good tracks are, against the truth of a made video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.mot_metrics import LabelledBoxes, best_pairs, evaluate
from benchmarks.track_scenes import tight_box

BoolMask = NDArray[np.bool_]
Masks = dict[int, BoolMask]
"""From an id to `(H, W)` bool, on one frame."""

MATCH_IOU = 0.5
COVERED_SHARE = 0.95


@dataclass(frozen=True)
class Scores:
    """All but switches are fractions."""

    idf1: float
    """Identity F1 over boxes that overlap by at least half."""
    switches: int
    mean_iou: float
    """Of masks, over all object-frames of the truth; 0 where nothing matches."""
    missed_object_frames: float
    """Object-frames of the truth that no mask overlaps by half."""
    uncovered_frames: float
    """Object-frames of the truth of which less than 95% is covered by masks, whosever."""


def score(truth: Sequence[Masks], found: Sequence[Masks]) -> Scores:
    """Compare frame by frame; both have one entry a frame."""
    counts = evaluate([_boxes(masks) for masks in truth], [_boxes(masks) for masks in found])
    overlaps: list[float] = []
    uncovered = 0
    for true_masks, found_masks in zip(truth, found, strict=True):
        overlaps += best_overlaps(true_masks, found_masks)
        uncovered += sum(share < COVERED_SHARE for share in coverage(true_masks, found_masks))
    total = max(len(overlaps), 1)
    return Scores(
        idf1=counts.idf1 / 100,
        switches=counts.switches,
        mean_iou=sum(overlaps) / total,
        missed_object_frames=sum(o < MATCH_IOU for o in overlaps) / total,
        uncovered_frames=uncovered / total,
    )


def best_overlaps(truth: Masks, found: Masks) -> list[float]:
    """The IoU of each true mask with the one that it is paired with; 0 if there is none."""
    if not truth or not found:
        return [0.0] * len(truth)
    table = np.array([[_iou(a, b) for b in found.values()] for a in truth.values()])
    rows, columns = best_pairs(table)
    paired = dict(zip(rows.tolist(), table[rows, columns].tolist(), strict=True))
    return [float(paired.get(row, 0.0)) for row in range(len(truth))]


def coverage(truth: Masks, found: Masks) -> list[float]:
    """The share of each true mask that lies under any mask."""
    if not truth:
        return []
    shape = next(iter(truth.values())).shape
    covered = np.zeros(shape, np.bool_)
    for mask in found.values():
        covered |= mask
    return [float((mask & covered).sum() / mask.sum()) for mask in truth.values()]


def _iou(a: BoolMask, b: BoolMask) -> float:
    shared = int(np.count_nonzero(a & b))
    return shared / (int(a.sum()) + int(b.sum()) - shared) if shared else 0.0


def _boxes(masks: Masks) -> LabelledBoxes:
    there = {key: mask for key, mask in masks.items() if mask.any()}
    boxes = [tight_box(mask) for mask in there.values()]
    return LabelledBoxes(
        np.array(list(there), np.int64), np.array(boxes, np.float64).reshape(-1, 4)
    )
