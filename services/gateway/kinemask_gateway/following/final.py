"""The last pass: duplicates merged, gaps covered, and what is to be said of every object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from kinemask_gateway.following.covers import Sweep
from kinemask_gateway.following.guard import Guard
from kinemask_gateway.following.merged import MergedTracks
from kinemask_gateway.following.state import Run, extend
from kinemask_gateway.following.survey import Span, Survey, joined
from kinemask_gateway.tracks.values import (
    MaskOrigin,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)


@dataclass
class Summary:
    """One object over the whole video."""

    label: str
    prompt: str
    first: int
    last: int
    frames: int = 0
    score_sum: float = 0.0
    name: TrackedName | None = None
    low_score: list[Run] = field(default_factory=list)

    def add(self, entry: TrackedObject, frame_index: int, risk_score: float) -> None:
        """Take the object as it is on the next frame."""
        self.last = frame_index
        self.frames += 1
        self.score_sum += entry.score
        if entry.name is not None and (entry.name.decided or self.name is None):
            self.name = entry.name
        if entry.score < risk_score and entry.origin is not MaskOrigin.LEAK_GUARD:
            extend(self.low_score, frame_index, frame_index, "")


def spans_of(found: Survey, same_as: Mapping[int, int]) -> dict[int, list[Span]]:
    """When each object is there, duplicates under the id they go under."""
    groups: dict[int, list[Span]] = {}
    for object_id, spans in found.spans.items():
        groups.setdefault(same_as.get(object_id, object_id), []).extend(spans)
    return {object_id: joined(spans) for object_id, spans in sorted(groups.items())}


class FinalPass:
    """Frames as they are to be stored, ascending; fills in `summaries` on the way. Blocking."""

    def __init__(
        self, tracks: MergedTracks, guard: Guard | None, sweep: Sweep, risk_score: float
    ) -> None:
        self._tracks = tracks
        self._guard = guard
        self._sweep = sweep
        self._risk_score = risk_score
        self.summaries: dict[int, Summary] = {}

    def frames(self) -> Iterator[TrackedFrame]:
        """Every frame, once."""
        for frame in self._tracks.frames():
            whole = replace(frame, objects=self._guarded(frame))
            for entry in whole.objects:
                self._summary(entry, frame.frame_index).add(
                    entry, frame.frame_index, self._risk_score
                )
            yield whole

    def _guarded(self, frame: TrackedFrame) -> tuple[TrackedObject, ...]:
        """The frame's objects, and those that the guard holds on it."""
        if self._guard is None:
            return frame.objects
        covers = self._sweep.at(frame.frame_index)
        held = [self._guard.cover(cover, frame.frame_index) for cover in covers]
        return self._guard.frame(frame.objects, [entry for entry in held if entry is not None])

    def _summary(self, entry: TrackedObject, frame_index: int) -> Summary:
        known = self.summaries.get(entry.object_id)
        if known is None:
            known = Summary(entry.label, entry.prompt, frame_index, frame_index)
            self.summaries[entry.object_id] = known
        return known
