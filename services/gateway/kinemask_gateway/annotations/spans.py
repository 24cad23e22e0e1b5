"""Sets of frames as spans, and which frames a prompt bears on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Span = tuple[int, int]
"""First and last frame, both included."""
Spans = tuple[Span, ...]
"""Ascending; neither overlapping nor touching."""


def union(*many: Iterable[Span]) -> Spans:
    """Frames that are in any of them."""
    found: list[Span] = []
    for first, last in sorted(span for spans in many for span in spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def minus(spans: Iterable[Span], taken: Iterable[Span]) -> Spans:
    """Frames of `spans` that are not in `taken`."""
    left = union(spans)
    for first, last in union(taken):
        left = tuple(
            part
            for a, b in left
            for part in ((a, min(b, first - 1)), (max(a, last + 1), b))
            if part[0] <= part[1]
        )
    return union(left)


def within(spans: Iterable[Span], first: int, last: int) -> Spans:
    """Frames of `spans` from `first` to `last`."""
    cut = ((max(a, first), min(b, last)) for a, b in union(spans))
    return tuple((a, b) for a, b in cut if a <= b)


def of_frames(frames: Iterable[int]) -> Spans:
    """Single frames as spans."""
    return union((frame, frame) for frame in frames)


def contains(spans: Sequence[Span], frame: int) -> bool:
    """Whether a frame is in them."""
    return any(first <= frame <= last for first, last in spans)


def touched_by(frame: int, prompted: Sequence[int], last_frame: int, *, imported: bool) -> Spans:
    """Frames whose masks come of what is said on a frame, after it was changed there.

    Masks are carried forwards from each prompted frame to the next one, and backwards from the
    first one; an object that came with masks of its own is not carried backwards.

    Args:
        frame: where a prompt was added or taken back.
        prompted: the object's prompted frames as they are now, ascending.
        last_frame: the video's.
    """
    at = bisect_right(prompted, frame)
    until = prompted[at] - 1 if at < len(prompted) else last_frame
    before = bisect_left(prompted, frame)
    if frame in prompted:
        after = (frame + 1, until)
        backwards = (0, frame - 1) if before == 0 and not imported else (1, 0)
        return union(span for span in (after, backwards) if span[0] <= span[1])
    if before == 0 and (not prompted or imported):
        return ()  # nothing bears on these frames any more
    return ((frame if before else 0, until),)
