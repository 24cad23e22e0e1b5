"""Both passes' masks as one: forwards, backwards, and duplicates under one id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from kinemask import masks

from kinemask_gateway.following.hints import without_hints
from kinemask_gateway.following.sparse import SparseReader
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import ObjectState, TrackedFrame, TrackedObject


class MergedTracks:
    """Frames of both passes. Blocking; any thread; memory: two chunks."""

    def __init__(
        self,
        forward: TracksReader,
        filled: SparseReader,
        same_as: Mapping[int, int] | None = None,
        *,
        hints: bool = False,
    ) -> None:
        """`same_as`: from ids of duplicates to the ids they go under; None: none are known yet.

        `hints`: boxes of detections that disagree with masks belong to them, for the leak guard.
        """
        self._hints = hints
        self._forward = forward
        self._filled = filled
        self._same_as = same_as
        self.size = (forward.manifest.height, forward.manifest.width)

    def frames(self) -> Iterator[TrackedFrame]:
        """All, ascending."""
        for frame in self._forward.frames():
            yield self._merged(frame)

    def object(self, frame_index: int, object_id: int) -> TrackedObject | None:
        """One object on one frame."""
        frame = self._merged(self._forward.frame(frame_index))
        return next((o for o in frame.objects if o.object_id == object_id), None)

    def _merged(self, frame: TrackedFrame) -> TrackedFrame:
        filled = self._filled.frame(frame.frame_index)
        followed = frame.objects if self._hints else without_hints(frame.objects)
        found = (*followed, *(filled.objects if filled is not None else ()))
        if self._same_as is None:
            return replace(frame, objects=found)
        groups: dict[int, list[TrackedObject]] = {}
        for entry in found:
            groups.setdefault(self._same_as.get(entry.object_id, entry.object_id), []).append(entry)
        united = (self._united(object_id, group) for object_id, group in sorted(groups.items()))
        return replace(frame, objects=tuple(entry for entry in united if entry is not None))

    def _united(self, object_id: int, group: list[TrackedObject]) -> TrackedObject | None:
        # A mask that lies on something else counts only if that is the same thing.
        sure = [entry for entry in group if entry.state is not ObjectState.LOST]
        if not sure:
            return None
        first = min(sure, key=lambda entry: (entry.origin, entry.object_id))
        if len(sure) == 1:
            return replace(first, object_id=object_id)
        whole = np.logical_or.reduce([entry.mask(*self.size) for entry in sure])
        return with_mask(replace(first, object_id=object_id), whole)


def with_mask(
    entry: TrackedObject, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> TrackedObject:
    """The object with another mask `(H, W)` bool, which is not empty."""
    x_min, y_min, x_max, y_max = masks.mask_box(mask) or (0, 0, 0, 0)
    box = (float(x_min), float(y_min), float(x_max), float(y_max))
    area_px = int(np.count_nonzero(mask))
    return replace(entry, box_xyxy=box, rle=masks.encode_rle(mask, box), area_px=area_px)
