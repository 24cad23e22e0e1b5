"""Who is who where things of one kind cross: by where each should be, at its own pace.

Masks run into one another there, and the boxes that are followed with them; a crossing takes few
frames, in which what moves goes on as it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinemask_gateway.live.objects import BoxXyxy, FoundTrack, KnownObject, ObjectBook
from kinemask_gateway.live.rejoining import distance

_BETTER = 0.15
"""By so much of a box's diagonal another one must be nearer to where it should be."""
_SHAPE = 0.25
_UNKNOWN = 2.0
_SURE_DETECTIONS = 2
Owners = list[tuple[FoundTrack, KnownObject | None]]


def untangled(book: ObjectBook, owners: Sequence[tuple[FoundTrack, KnownObject | None]]) -> Owners:
    """The objects of tracks, changed where that fits better; moves the tracks with them."""
    rows = [_Row(track, known) for track, known in owners]
    taken = {row.known.object_id for row in rows if row.known is not None}
    for row in rows:
        _with_absent(row, book, taken)
    for number, one in enumerate(rows):
        for other in rows[number + 1 :]:
            _swapped(one, other)
    for row in rows:
        if row.known is not None:
            row.known.track_id = row.track.track_id
    return [(row.track, row.known) for row in rows]


@dataclass
class _Row:
    track: FoundTrack
    known: KnownObject | None


def _swapped(one: _Row, other: _Row) -> None:
    """Exchange the objects of two tracks if both are then nearer together."""
    a, b = one.known, other.known
    if a is None or b is None or a is b or not _alike(a, b):
        return
    kept = _cost(a, one.track.box_xyxy) + _cost(b, other.track.box_xyxy)
    if _cost(b, one.track.box_xyxy) + _cost(a, other.track.box_xyxy) + _BETTER < kept:
        one.known, other.known = b, a


def _with_absent(row: _Row, book: ObjectBook, taken: set[int]) -> None:
    """Give a track to an object that nothing was found of, if that should rather be there."""
    known = row.known
    if known is None:
        return
    others = [o for o in book.objects.values() if o.object_id not in taken and _alike(o, known)]
    far = [(_cost(other, row.track.box_xyxy), other.object_id) for other in others]
    nearest, object_id = min(far, default=(_UNKNOWN, 0))
    if nearest + _BETTER < _cost(known, row.track.box_xyxy):
        taken.discard(known.object_id)
        taken.add(object_id)
        known.track_id = None
        row.known = book.objects[object_id]


def _alike(a: KnownObject, b: KnownObject) -> bool:
    """Whether words found both, the same ones, and often enough to know their pace."""
    sure = min(a.detections, b.detections) >= _SURE_DETECTIONS
    return sure and a.detected and b.detected and a.label == b.label


def _cost(known: KnownObject, box_xyxy: BoxXyxy) -> float:
    """How ill a detection fits an object: its place, and its shape."""
    far, found = distance(known, box_xyxy), known.found_xyxy
    if far is None or found is None:
        return _UNKNOWN
    (width, height), (was_width, was_height) = _sides(box_xyxy), _sides(found)
    change = abs(math.log(width / was_width)) + abs(math.log(height / was_height))
    return far + _SHAPE * change


def _sides(box: BoxXyxy) -> tuple[float, float]:
    return max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
