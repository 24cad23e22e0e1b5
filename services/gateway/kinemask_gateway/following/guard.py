"""The leak guard: regions stay covered where a track has gaps.

A mask is held from the side it was seen on, moved along the way between both sides where there are
two, and grows with every frame away from a seen one. Of both sides the union is covered. Masks of
seen objects grow by a share of their size, and by more before a detection found them; of what an
object has on a frame the convex hull is covered.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_gateway.following.covers import Cover
from kinemask_gateway.following.hull import hull
from kinemask_gateway.following.merged import with_mask
from kinemask_gateway.tracks.values import BoxXyxy, MaskOrigin, ObjectState, TrackedObject

BoolMask = NDArray[np.bool_]
Lookup = Callable[[int, int], TrackedObject | None]
"""From a frame and an object id to the object there."""
_HELD = 64
_SCORE_SHARE = 0.5
_COMING_IN = 2.0
"""Of what comes in over the frame's border more may be there than is masked: a leg, say."""
_BORDER_PX = 2.0


@dataclass(frozen=True)
class Seen:
    """An object where it was last, or first, seen."""

    entry: TrackedObject
    crop: BoolMask
    """`(h, w)`: the mask inside its box."""
    x_px: int
    y_px: int
    center_xy: tuple[float, float]


class Guard:
    """Makes the masks of covers. Blocking; one thread at a time."""

    def __init__(
        self,
        lookup: Lookup,
        size: tuple[int, int],
        grow_px_per_frame: float,
        grow_share: float = 0.0,
    ) -> None:
        """`size`: height and width of the frames; how masks grow: as LeakGuard in jobs.proto."""
        self._lookup = lookup
        self._size = size
        self._grow_px = grow_px_per_frame
        self._grow_share = grow_share
        self._held: OrderedDict[tuple[int, int], Seen | None] = OrderedDict()

    def frame(
        self, objects: Sequence[TrackedObject], held: Sequence[TrackedObject]
    ) -> tuple[TrackedObject, ...]:
        """A frame's objects, grown, and what is held on it, one entry an object."""
        there = [entry for entry in objects if entry.present]
        found: dict[int, list[TrackedObject]] = {}
        for entry in (*there, *held):
            found.setdefault(entry.object_id, []).append(entry)
        return tuple(self._covered(found[object_id]) for object_id in sorted(found))

    def _covered(self, parts: Sequence[TrackedObject]) -> TrackedObject:
        """All that is known of one object on a frame."""
        if not self._grow_share and len(parts) == 1:
            return parts[0]
        mask = np.logical_or.reduce([self._grown(entry) for entry in parts])
        return with_mask(parts[0], hull(mask) if self._grow_share else mask)

    def _grown(self, entry: TrackedObject) -> BoolMask:
        side_px = math.sqrt(entry.area_px)
        if entry.origin is MaskOrigin.BACKWARD_FILL and entry.box_xyxy is not None:
            side_px = max(side_px, _unconfirmed_side(entry.box_xyxy, self._size))
        return grown(entry.mask(*self._size), math.ceil(self._grow_share * side_px))

    def cover(self, cover: Cover, frame_index: int) -> TrackedObject | None:
        """The object as it is held on a frame; None if nothing of it is in the picture."""
        before = self._seen(cover.before, cover.object_id)
        after = self._seen(cover.after, cover.object_id)
        mask = np.zeros(self._size, np.bool_)
        for seen, other, at in ((before, after, cover.before), (after, before, cover.after)):
            if seen is not None and at is not None:
                self._paint(mask, seen, _shift(seen, other, self._share(cover, at, frame_index)))
        sides = [abs(frame_index - at) for at in (cover.before, cover.after) if at is not None]
        mask = grown(mask, math.ceil(self._grow_px * min(sides)))
        if not mask.any():
            return None
        entries = [seen.entry for seen in (before, after) if seen is not None]
        score = min(entry.score for entry in entries) * _SCORE_SHARE
        said = replace(
            entries[0], score=score, state=ObjectState.LOST, origin=MaskOrigin.LEAK_GUARD
        )
        return with_mask(said, mask)

    def _share(self, cover: Cover, at: int, frame_index: int) -> float:
        """How far on its way to the other side a mask is: 0..1."""
        if cover.before is None or cover.after is None:
            return 0.0
        return abs(frame_index - at) / (cover.after - cover.before)

    def _seen(self, frame_index: int | None, object_id: int) -> Seen | None:
        if frame_index is None:
            return None
        key = (frame_index, object_id)
        if key not in self._held:
            entry = self._lookup(frame_index, object_id)
            self._held[key] = None if entry is None else _cropped(entry, self._size)
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return self._held[key]

    def _paint(self, mask: BoolMask, seen: Seen, shift_xy: tuple[float, float]) -> None:
        """Set the mask's pixels, moved, as far as they are in the picture."""
        height, width = self._size
        x, y = seen.x_px + round(shift_xy[0]), seen.y_px + round(shift_xy[1])
        rows, columns = seen.crop.shape
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + rows, height), min(x + columns, width)
        if top < bottom and left < right:
            mask[top:bottom, left:right] |= seen.crop[top - y : bottom - y, left - x : right - x]


def _unconfirmed_side(box: BoxXyxy, size: tuple[int, int]) -> float:
    """What growth is a share of before a detection found an object: its box's longer side, in
    pixels, for what is missing of a mask lies outside of it; more at the frame's border."""
    x_min, y_min, x_max, y_max = box
    side = max(x_max - x_min, y_max - y_min)
    height, width = size
    nearest = min(x_min, y_min, width - x_max, height - y_max)
    return side * (_COMING_IN if nearest <= _BORDER_PX else 1.0)


def grown(mask: BoolMask, grow_px: int) -> BoolMask:
    """The mask and everything up to `grow_px` pixels away from it."""
    if grow_px <= 0 or not mask.any():
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow_px + 1, 2 * grow_px + 1))
    return cv2.dilate(mask.view(np.uint8), kernel).view(np.bool_)


def _cropped(entry: TrackedObject, size: tuple[int, int]) -> Seen | None:
    if entry.box_xyxy is None:
        return None
    x_min, y_min, x_max, y_max = (round(edge) for edge in entry.box_xyxy)
    crop = entry.mask(*size)[y_min:y_max, x_min:x_max].copy()
    return Seen(entry, crop, x_min, y_min, _center(entry.box_xyxy))


def _center(box: BoxXyxy) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _shift(seen: Seen, other: Seen | None, share: float) -> tuple[float, float]:
    if other is None:
        return 0.0, 0.0
    (x, y), (to_x, to_y) = seen.center_xy, other.center_xy
    return (to_x - x) * share, (to_y - y) * share
