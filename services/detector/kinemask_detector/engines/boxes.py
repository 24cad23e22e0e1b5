"""Overlap of boxes, and choosing among those that overlap.

Boxes are `(N, 4)` float arrays of xyxy in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def overlaps(box: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Of `(4,)` with `(N, 4)`: IoU, and intersection over the smaller area; each `(N,)` in 0..1."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    area = float(np.prod(box[2:] - box[:2]))
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    tiny = np.finfo(np.float64).tiny
    union = np.maximum(area + areas - shared, tiny)
    return shared / union, shared / np.maximum(np.minimum(area, areas), tiny)


def suppress(
    boxes: Floats,
    scores: Floats,
    max_iou: float,
    max_inside: float = 1.0,
    most: int | None = None,
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression; indices of what stays, best first.

    A box goes if a better one overlaps it by an IoU over `max_iou`, or if more than `max_inside`
    of the smaller of the two lies inside the other. No more than `most` stay.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while len(left) and (most is None or len(kept) < most):
        best, left = left[0], left[1:]
        kept.append(best)
        iou, inside = overlaps(boxes[best], boxes[left])
        left = left[(iou <= max_iou) & (inside <= max_inside)]
    return np.array(kept, np.intp)


def clusters(boxes: Floats, min_iou: float) -> list[NDArray[np.intp]]:
    """Indices of boxes that belong together: each joins the first group whose mean it overlaps.

    Groups are ordered by size, largest first.
    """
    groups: list[list[int]] = []
    means = np.zeros((0, 4))
    for index, box in enumerate(boxes):
        close = np.flatnonzero(overlaps(box, means)[0] > min_iou)
        if len(close):
            group = groups[close[0]]
            group.append(index)
            means[close[0]] = boxes[group].mean(axis=0)
        else:
            groups.append([index])
            means = np.vstack([means, box])
    ordered = sorted(groups, key=len, reverse=True)
    return [np.array(group, np.intp) for group in ordered]


def clip(boxes: Floats, height: int, width: int) -> Floats:
    """The boxes cut to the picture."""
    clipped: Floats = np.clip(boxes, 0.0, [width, height, width, height])
    return clipped
