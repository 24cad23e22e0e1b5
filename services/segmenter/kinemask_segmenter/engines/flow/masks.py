"""From working-size probabilities to masks of the client's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kinemask_segmenter.engines.base import BoolMask, ObjectMask
from kinemask_segmenter.engines.flow.follow import Belief, Window
from kinemask_segmenter.engines.flow.pixels import Bytes, Geometry

_EDGE_LEVEL = 40


@dataclass(frozen=True)
class RawObject:
    """One object's part of a frame, before upsampling."""

    object_id: int
    score: float
    window: Window | None
    """Where `level` lies on the working image; None if the object is not there."""
    level: Bytes
    """`(wh, ww)` probability times 255 inside the window."""


def crop(object_id: int, belief: Belief) -> RawObject:
    """The part of a belief that `expand` needs; shares its memory, which is never written again."""
    window = Window.around(belief.level > _EDGE_LEVEL, 2)
    if window is None or not (belief.level[window.slices] > 127).any():
        return RawObject(object_id, 0.0, None, np.zeros((0, 0), np.uint8))
    return RawObject(object_id, belief.score, window, belief.level[window.slices])


def compete(objects: Sequence[RawObject], geometry: Geometry) -> list[RawObject]:
    """Give every pixel to the object that is surest of it; ties go to the smaller id."""
    present = [item for item in objects if item.window is not None]
    if len(present) < 2:
        return list(objects)
    best = np.zeros((geometry.work_height, geometry.work_width), np.uint8)
    owner = np.zeros(best.shape, np.int32)
    for rank, item in enumerate(objects, start=1):
        if item.window is not None:
            at = item.window.slices
            wins = item.level > np.maximum(best[at], 127)
            best[at][wins] = item.level[wins]
            owner[at][wins] = rank
    return [_keep_own(item, owner, rank) for rank, item in enumerate(objects, start=1)]


def _keep_own(
    item: RawObject, owner: np.ndarray[tuple[int, int], np.dtype[np.int32]], rank: int
) -> RawObject:
    if item.window is None:
        return item
    owned = owner[item.window.slices]
    lost = (owned > 0) & (owned != rank)
    if not lost.any():
        return item
    level = np.where(lost, np.uint8(0), item.level)
    return RawObject(item.object_id, item.score, item.window, level)


def expand(objects: Sequence[RawObject], geometry: Geometry) -> list[ObjectMask]:
    """Masks at the client's size, ordered by id, no two on one pixel."""
    results: list[ObjectMask] = []
    taken = np.zeros((geometry.height, geometry.width), np.bool_)
    for item in sorted(objects, key=lambda each: each.object_id):
        mask = np.zeros((geometry.height, geometry.width), np.bool_)
        if item.window is None:
            results.append(ObjectMask(item.object_id, mask, item.score, None, 0))
            continue
        level, at = _enlarge(item.level, item.window, geometry)
        np.logical_and(level > 127, ~taken[at], out=mask[at])
        taken[at] |= mask[at]
        results.append(_measured(item, mask, at))
    return results


def _enlarge(level: Bytes, window: Window, geometry: Geometry) -> tuple[Bytes, tuple[slice, slice]]:
    """Bilinear enlargement of a window, aligned by pixel centres as `cv2.resize` does."""
    sx = geometry.width / geometry.work_width
    sy = geometry.height / geometry.work_height
    if sx == 1 and sy == 1:
        return level, window.slices
    x0, x1 = int(window.x0 * sx), min(geometry.width, int(np.ceil(window.x1 * sx)))
    y0, y1 = int(window.y0 * sy), min(geometry.height, int(np.ceil(window.y1 * sy)))
    matrix = np.array(
        [
            [1 / sx, 0, (x0 + 0.5) / sx - 0.5 - window.x0],
            [0, 1 / sy, (y0 + 0.5) / sy - 0.5 - window.y0],
        ]
    )
    large = cv2.warpAffine(
        level,
        matrix,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return large.astype(np.uint8, copy=False), (slice(y0, y1), slice(x0, x1))


def _measured(item: RawObject, mask: BoolMask, at: tuple[slice, slice]) -> ObjectMask:
    inner = mask[at]
    rows, columns = np.flatnonzero(inner.any(1)), np.flatnonzero(inner.any(0))
    if len(rows) == 0:
        return ObjectMask(item.object_id, mask, 0.0, None, 0)
    y, x = at[0].start, at[1].start
    box = (
        float(x + columns[0]),
        float(y + rows[0]),
        float(x + columns[-1] + 1),
        float(y + rows[-1] + 1),
    )
    return ObjectMask(item.object_id, mask, item.score, box, int(np.count_nonzero(inner)))
