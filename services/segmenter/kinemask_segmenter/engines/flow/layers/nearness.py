"""Boxes: which objects are near each other, which touch, and where."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from kinemask_segmenter.engines.flow.follow import Bools, Window
from kinemask_segmenter.engines.flow.layers.template import Template

Box = tuple[float, float, float, float]
Pair = tuple[int, int]

_NEAR = 0.75
"""Objects are near when their boxes, grown by so much of their longer side, meet."""
_TOUCH_PX = 6.0
"""Objects touch when their boxes, grown by so much, meet: masks may be some pixels too small."""


def near_pairs(boxes: Mapping[int, Box]) -> list[Pair]:
    """Pairs of ids whose objects may touch soon, the smaller id first."""
    grown = {key: _grown(box, _NEAR * max(_sides(box))) for key, box in boxes.items()}
    return _meeting(grown)


def touching_pairs(boxes: Mapping[int, Box]) -> list[Pair]:
    """Pairs of ids whose objects touch, or nearly so, the smaller id first."""
    return _meeting({key: _grown(box, _TOUCH_PX) for key, box in boxes.items()})


def meet(one: Bools, other: Bools) -> bool:
    """Whether two masks `(H, W)` touch, or nearly so."""
    side = 2 * round(_TOUCH_PX) + 1
    grown = cv2.dilate(one.astype(np.uint8), np.ones((side, side), np.uint8))
    return bool((other & (grown > 0)).any())


def groups(pairs: Iterable[Pair]) -> list[tuple[int, ...]]:
    """Ids that are joined by pairs, ascending in every group."""
    found: list[set[int]] = []
    for pair in pairs:
        joined = [group for group in found if group & set(pair)]
        found = [group for group in found if group not in joined]
        found.append(set(pair).union(*joined))
    return [tuple(sorted(group)) for group in found]


def window_around(boxes: Iterable[Box], height: int, width: int, margin_px: int) -> Window | None:
    """Around all boxes, within the image; None if nothing of them is."""
    sides = list(zip(*boxes, strict=True))
    x0, y0 = max(0, int(min(sides[0])) - margin_px), max(0, int(min(sides[1])) - margin_px)
    x1 = min(width, int(np.ceil(max(sides[2]))) + margin_px)
    y1 = min(height, int(np.ceil(max(sides[3]))) + margin_px)
    return Window(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def outline_box(template: Template) -> Box:
    """Around the moved outline of a template, whether in sight or not."""
    inside = template.inside > 0.5 if template.edge is None else template.edge > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) == 0:
        rows, columns = np.arange(template.size[1]), np.arange(template.size[0])
    corners = np.array(
        [(x, y, 1) for x in (columns[0], columns[-1]) for y in (rows[0], rows[-1])], np.float64
    )
    moved = corners @ template.matrix().T
    (x0, y0), (x1, y1) = moved.min(0), moved.max(0)
    return float(x0), float(y0), float(x1) + 1, float(y1) + 1


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = [np.prod(_sides(box)) for box in (one, other)]
    return float(both / (sum(areas) - both))


def _sides(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _grown(box: Box, by_px: float) -> Box:
    return box[0] - by_px, box[1] - by_px, box[2] + by_px, box[3] + by_px


def _meeting(boxes: Mapping[int, Box]) -> list[Pair]:
    return [
        (one, other)
        for one, other in itertools.combinations(sorted(boxes), 2)
        if overlap(boxes[one], boxes[other]) > 0
    ]
