"""From what a user says about an object on one frame to a mask of it.

Boxes and points go through GrabCut on a small crop; refinements by point flood the region of like
colour around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.base import Prompt
from kinemask_segmenter.engines.flow.grabcut import grab_cut
from kinemask_segmenter.engines.flow.pixels import Bytes, Geometry

Bools = NDArray[np.bool_]

# Share of a box's width or height that a mask may leave empty on one side.
_WIDEST_GAP = 0.2
_SMALLEST_FILL = 0.25
_MOST_TAKEN = 0.7
"""Share of a box that may be other objects'."""
_CORE = 0.3
"""The middle of a box, as part of its sides, that is taken for the object."""
_POINT_REACH = 0.16
"""Radius around a point in which its object is looked for, as part of the shorter side."""
_CORRECTION_REACH = 0.08
_FLOOD_DIFFERENCE = 14


@dataclass(frozen=True)
class WorkPrompt:
    """A prompt in working-image pixels; at least one field says something."""

    inside_xy: NDArray[np.float64]
    """`(N, 2)` points on the object."""
    outside_xy: NDArray[np.float64]
    box_xyxy: tuple[float, float, float, float] | None
    mask: Bools | None
    others: Bools | None = None
    """`(h, w)` pixels of other objects, of which a box around this one may hold some."""


def to_work(prompt: Prompt, geometry: Geometry) -> WorkPrompt:
    """Scale to the working image; points outside are moved to its border."""
    sx, sy = geometry.work_width / geometry.width, geometry.work_height / geometry.height
    limit = np.array([geometry.work_width - 1, geometry.work_height - 1], np.float64)
    points = np.clip(prompt.points_xy.astype(np.float64) * (sx, sy), 0, limit)
    box = prompt.box_xyxy
    if box is not None:
        box = (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)
    mask = None if prompt.mask is None else _shrink(prompt.mask, geometry)
    return WorkPrompt(points[prompt.positive], points[~prompt.positive], box, mask)


def _shrink(mask: Bools, geometry: Geometry) -> Bools:
    """To the working size; a mask that would vanish keeps its middle pixel."""
    height, width = geometry.work_height, geometry.work_width
    small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5
    if not small.any():
        rows, columns = np.nonzero(mask)
        row = int(rows[len(rows) // 2] * height / mask.shape[0])
        small[row, int(columns[len(rows) // 2] * width / mask.shape[1])] = True
    return small


def segment(lab: Bytes, prompt: WorkPrompt, base: Bools | None, looseness: float = 1.0) -> Bools:
    """The object's mask, never empty.

    Args:
        lab: `(h, w, 3)` working image.
        base: `(h, w)` mask known before, which points alone correct.
        looseness: 1 is normal, less gives tighter masks and more gives wider ones.
    """
    if prompt.mask is not None:
        mask = prompt.mask
    elif prompt.box_xyxy is not None:
        mask = _in_box(lab, prompt.box_xyxy, prompt, looseness)
    elif base is not None and base.any():
        mask = base
    else:
        mask = _around_points(lab, prompt, looseness)
    corrected = _correct(lab, mask, prompt)
    return corrected if corrected.any() else mask


def _correct(lab: Bytes, mask: Bools, prompt: WorkPrompt) -> Bools:
    """Add what positive points miss, take out what negative points hit."""
    result = mask.copy()
    radius = max(2.0, _CORRECTION_REACH * min(mask.shape))
    for x, y in prompt.inside_xy:
        if not result[int(y), int(x)]:
            result |= _flood(lab, float(x), float(y), radius)
    for x, y in prompt.outside_xy:
        if result[int(y), int(x)]:
            hit = _separate_part(result, int(x), int(y), prompt.inside_xy)
            result &= ~(_flood(lab, float(x), float(y), radius) if hit is None else hit)
    return result


def _separate_part(mask: Bools, x: int, y: int, inside_xy: NDArray[np.float64]) -> Bools | None:
    """The part of `mask` at a point, if it can go as a whole: others remain, nobody wants it."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    part: Bools = parts == parts[y, x]
    wanted = any(part[int(v), int(u)] for u, v in inside_xy)
    return None if count <= 2 or wanted else part


def _flood(lab: Bytes, x: float, y: float, radius: float) -> Bools:
    """The region of like colour around a point, within `radius`, and a small disc at least."""
    height, width = lab.shape[:2]
    seen = np.zeros((height + 2, width + 2), np.uint8)
    step = (_FLOOD_DIFFERENCE,) * 3
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    smooth = cv2.medianBlur(lab, 5)
    cv2.floodFill(smooth, seen, (int(x), int(y)), (0, 0, 0), step, step, flags)
    square = (np.arange(width) - x) ** 2 + (np.arange(height)[:, None] - y) ** 2
    disc = square <= max(1.0, radius / 5) ** 2
    result: Bools = ((seen[1:-1, 1:-1] > 0) & (square <= radius**2)) | disc
    result[int(y), int(x)] = True
    return result


def _ellipse(height: int, width: int, box: tuple[float, float, float, float]) -> Bools:
    x0, y0, x1, y1 = box
    rx, ry = max(0.5, (x1 - x0) / 2), max(0.5, (y1 - y0) / 2)
    x = (np.arange(width) + 0.5 - (x0 + x1) / 2) / rx
    y = ((np.arange(height) + 0.5 - (y0 + y1) / 2) / ry)[:, None]
    result: Bools = x * x + y * y <= 1
    return result


def _clip_box(
    box: tuple[float, float, float, float], height: int, width: int
) -> tuple[int, int, int, int]:
    """Whole pixels inside the image, at least one."""
    x0 = min(width - 1, max(0, round(box[0])))
    y0 = min(height - 1, max(0, round(box[1])))
    return x0, y0, max(x0 + 1, min(width, round(box[2]))), max(y0 + 1, min(height, round(box[3])))


def _in_box(
    lab: Bytes, box: tuple[float, float, float, float], prompt: WorkPrompt, looseness: float
) -> Bools:
    """GrabCut in the box; with an ellipse where that finds only a part of what the box is around.

    A box is drawn tight, so a mask that ends far from one of its sides has lost something there
    (Lempitsky et al., "Image segmentation with a bounding box prior", ICCV 2009).
    """
    height, width = lab.shape[:2]
    x0, y0, x1, y1 = _clip_box(box, height, width)
    whole = (float(x0), float(y0), float(x1), float(y1))
    ellipse = _ellipse(height, width, whole)
    if not ellipse.any():
        ellipse[y0:y1, x0:x1] = True
    free = _free(prompt.others, (x0, y0, x1, y1), (height, width))
    ellipse &= free
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    core = _CORE * looseness
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, core * (x1 - x0) / 2, core * (y1 - y0) / 2
    labels[_ellipse(height, width, (cx - rx, cy - ry, cx + rx, cy + ry))] = cv2.GC_FGD
    labels[~free] = cv2.GC_BGD
    mask = _grab_cut(lab, labels, prompt, margin=0.5) & free
    if mask.sum() < _SMALLEST_FILL * free[y0:y1, x0:x1].sum():
        return ellipse
    return mask if _reaches_every_side(mask | ~free, (x0, y0, x1, y1)) else mask | ellipse


def _free(others: Bools | None, box: tuple[int, int, int, int], size: tuple[int, int]) -> Bools:
    """`(h, w)` where a box's object may be: all of it, if others fill most of the box.

    Then they are thought to be where they are not, and the box knows better.
    """
    x0, y0, x1, y1 = box
    if others is None or others[y0:y1, x0:x1].mean() > _MOST_TAKEN:
        return np.ones(size, np.bool_)
    return ~others


def _reaches_every_side(mask: Bools, box: tuple[int, int, int, int]) -> bool:
    """Whether a mask, not empty inside the box, ends near all four of its sides."""
    x0, y0, x1, y1 = box
    rows, columns = np.nonzero(mask[y0:y1, x0:x1])
    for ends, side in ((columns, x1 - x0), (rows, y1 - y0)):
        if max(ends.min(), side - 1 - ends.max()) > _WIDEST_GAP * side:
            return False
    return True


def _around_points(lab: Bytes, prompt: WorkPrompt, looseness: float) -> Bools:
    """GrabCut in a disc around positive points."""
    height, width = lab.shape[:2]
    radius = max(2.0, _POINT_REACH * looseness * min(height, width))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    near = np.zeros((height, width), np.bool_)
    for x, y in prompt.inside_xy:
        square = (np.arange(width) - x) ** 2 + (np.arange(height)[:, None] - y) ** 2
        labels[(square <= radius**2) & (labels == cv2.GC_BGD)] = cv2.GC_PR_BGD
        near |= square <= (radius / 2) ** 2
        like = _flood(lab, float(x), float(y), radius)
        labels[like] = cv2.GC_PR_FGD
        labels[square <= max(1.0, radius / 6) ** 2] = cv2.GC_FGD
    if not (labels == cv2.GC_PR_FGD).any():
        labels[near & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    mask = _grab_cut(lab, labels, prompt, margin=0.1)
    return _touched(mask, prompt.inside_xy)


def _touched(mask: Bools, points_xy: NDArray[np.float64]) -> Bools:
    """The connected parts of `mask` that hold a point."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    wanted = {int(parts[int(y), int(x)]) for x, y in points_xy} - {0}
    result: Bools = np.isin(parts, list(wanted))
    for x, y in points_xy:
        result[int(y), int(x)] = True
    return result


def _grab_cut(lab: Bytes, labels: Bytes, prompt: WorkPrompt, margin: float) -> Bools:
    """GrabCut with what the points say."""
    for points, label in ((prompt.inside_xy, cv2.GC_FGD), (prompt.outside_xy, cv2.GC_BGD)):
        for x, y in points:
            cv2.circle(labels, (int(x), int(y)), 1, int(label), -1)
    return grab_cut(lab, labels, margin)
