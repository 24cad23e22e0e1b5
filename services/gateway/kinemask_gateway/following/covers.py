"""Which frames the leak guard covers, and by which masks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kinemask_gateway.following.survey import Span


@dataclass(frozen=True)
class Cover:
    """Frames without a mask of one object, to be covered."""

    object_id: int
    first: int
    last: int
    before: int | None
    """The last frame before that it was seen on; None: hold only what comes after."""
    after: int | None
    """The first frame after that it was seen on."""


@dataclass(frozen=True)
class OpenGap:
    """Frames between two masks of one object that are covered by nothing."""

    object_id: int
    first: int
    last: int


def plan_covers(
    spans: Mapping[int, Sequence[Span]],
    cuts: Sequence[int],
    bounds: Span,
    max_gap_frames: int,
    margin_frames: int,
) -> tuple[list[Cover], list[OpenGap]]:
    """What to cover, ascending by first frame, and which gaps stay open.

    Nothing is held over a scene cut. A gap that is too long to be closed has a margin on each side.
    """
    covers: list[Cover] = []
    gaps: list[OpenGap] = []
    for object_id, seen in spans.items():
        before: int | None = None
        for first, last in [*seen, (bounds[1] + 1, bounds[1] + 1)]:
            after = first if first <= bounds[1] else None
            low = bounds[0] if before is None else before + 1
            if low < first:
                made, left = _between(
                    object_id,
                    (low, first - 1),
                    before,
                    after,
                    cuts,
                    (max_gap_frames, margin_frames),
                )
                covers += made
                gaps += left
            before = last
    return sorted(covers, key=lambda c: (c.first, c.object_id)), gaps


def _between(
    object_id: int,
    gap: Span,
    before: int | None,
    after: int | None,
    cuts: Sequence[int],
    limits: tuple[int, int],
) -> tuple[list[Cover], list[OpenGap]]:
    first, last = gap
    max_gap, margin = limits
    # A cut on the frame `after` separates, too: that frame is of another shot.
    cut_first = _next_cut(cuts, first)
    cut_last = _last_cut(cuts, last + 1)
    both = before is not None and after is not None
    if both and cut_first > last + 1 and last - first < max_gap:
        return [Cover(object_id, first, last, before, after)], []
    found: list[Cover] = []
    low, high = first, last
    if before is not None:
        low = min(first + margin - 1, last, cut_first - 1) + 1
        if low > first:
            found.append(Cover(object_id, first, low - 1, before, None))
    if after is not None:
        high = max(last - margin + 1, low, cut_last) - 1
        if high < last:
            found.append(Cover(object_id, high + 1, last, None, after))
    gaps = [OpenGap(object_id, low, high)] if both and low <= high else []
    return found, gaps


def _next_cut(cuts: Sequence[int], frame_index: int) -> int:
    """The first cut at or after a frame; far away if there is none."""
    number = bisect_right(cuts, frame_index - 1)
    return cuts[number] if number < len(cuts) else 1 << 62


def _last_cut(cuts: Sequence[int], frame_index: int) -> int:
    """The last cut at or before a frame; far away if there is none."""
    number = bisect_right(cuts, frame_index)
    return cuts[number - 1] if number else -1


class Sweep:
    """The covers of each frame, for frames that ascend."""

    def __init__(self, covers: Sequence[Cover]) -> None:
        """`covers` ascending by first frame."""
        self._covers = covers
        self._next = 0
        self._now: list[Cover] = []

    def at(self, frame_index: int) -> Iterator[Cover]:
        """Those that a frame lies in."""
        while self._next < len(self._covers) and self._covers[self._next].first <= frame_index:
            self._now.append(self._covers[self._next])
            self._next += 1
        self._now = [cover for cover in self._now if cover.last >= frame_index]
        return iter(self._now)
