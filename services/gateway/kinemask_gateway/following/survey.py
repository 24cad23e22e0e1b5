"""What the passes found, looked over once: when each object was there, and which are one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kinemask_gateway.following.overlaps import Size, mask_overlap
from kinemask_gateway.live.objects import iou
from kinemask_gateway.tracks.values import TrackedFrame, TrackedObject

Span = tuple[int, int]
"""First and last frame, both included."""
_LEAST_SHARED_FRAMES = 3
_SHARE = 0.5


@dataclass
class Survey:
    """When objects were there. Grows with how often they came and went, not with frames."""

    spans: dict[int, list[Span]] = field(default_factory=dict)
    """By object id, ascending."""
    alike: dict[tuple[int, int], int] = field(default_factory=dict)
    """By two object ids, ascending: frames on which their masks are nearly the same."""

    def add(self, frame: TrackedFrame, size: Size, merge_iou: float) -> None:
        """Look at the next frame. Blocking."""
        for entry in frame.objects:
            extend_spans(self.spans.setdefault(entry.object_id, []), frame.frame_index)
        for one, other in itertools.combinations(frame.objects, 2):
            if one.object_id != other.object_id and _alike(one, other, size, merge_iou):
                low, high = sorted((one.object_id, other.object_id))
                self.alike[low, high] = self.alike.get((low, high), 0) + 1


def survey(frames: Iterable[TrackedFrame], size: Size, merge_iou: float) -> Survey:
    """Look over all frames. Blocking."""
    found = Survey()
    for frame in frames:
        found.add(frame, size, merge_iou)
    return found


def duplicates(found: Survey) -> Mapping[int, int]:
    """From the ids of objects that are another one to that one's id, the lowest.

    Two objects of one word are one if their masks are nearly the same on at least half of the
    frames on which both are there, and on three at least.
    """
    root: dict[int, int] = {}

    def top(object_id: int) -> int:
        while object_id in root:
            object_id = root[object_id]
        return object_id

    for (low, high), frames in sorted(found.alike.items()):
        both = shared_frames(found.spans[low], found.spans[high])
        if frames < _LEAST_SHARED_FRAMES or frames < _SHARE * both:
            continue
        one, other = sorted((top(low), top(high)))
        if one != other:
            root[other] = one
    return {object_id: top(object_id) for object_id in root}


def shared_frames(a: Sequence[Span], b: Sequence[Span]) -> int:
    """Frames that are in both."""
    total, i, j = 0, 0, 0
    while i < len(a) and j < len(b):
        total += max(0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]) + 1)
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total


def extend_spans(spans: list[Span], frame_index: int) -> None:
    """Add a frame, not before the last one."""
    if spans and spans[-1][1] >= frame_index - 1:
        spans[-1] = (spans[-1][0], frame_index)
    else:
        spans.append((frame_index, frame_index))


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans of several objects as those of one."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and found[-1][1] >= first - 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _alike(one: TrackedObject, other: TrackedObject, size: Size, merge_iou: float) -> bool:
    if one.prompt != other.prompt or one.box_xyxy is None or other.box_xyxy is None:
        return False
    # Masks that are nearly the same have boxes that are not far apart.
    if iou(one.box_xyxy, other.box_xyxy) < merge_iou / 2:
        return False
    return mask_overlap(one, other, size)[0] > merge_iou
