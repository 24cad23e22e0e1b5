"""What a run has seen so far: objects, stages, and what went wrong. Bounded by the objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.results import LiveFrame, StageReport
    from kinemask.types import LiveObject


@dataclass
class Gap:
    """Frames without something, and the longest run of them."""

    frames: int = 0
    longest: tuple[int, int] | None = None
    """First and last frame."""

    def add(self, first: int, last: int) -> None:
        """A run that has ended; one of no frames counts for nothing."""
        if last < first:
            return
        self.frames += last - first + 1
        if self.longest is None or last - first > self.longest[1] - self.longest[0]:
            self.longest = (first, last)


@dataclass
class ObjectTally:
    """One object over the frames."""

    object_id: int
    label: str
    prompt: str
    """The words that found it; empty for one shown by hand."""
    first_frame: int
    last_frame: int
    frames: int = 0
    """Frames it was seen on."""
    lost: Gap = field(default_factory=Gap)
    """Frames between the first and the last that it was not seen on."""
    name: str = ""
    """Whose face it is; empty while nobody knows."""

    def seen(self, frame: int) -> None:
        self.lost.add(self.last_frame + 1, frame - 1)
        self.frames += 1
        self.last_frame = frame


@dataclass
class Sum:
    """Milliseconds of something over the frames where it happened."""

    total_ms: float = 0.0
    count: int = 0

    def add(self, ms: float) -> None:
        self.total_ms += ms
        self.count += 1

    @property
    def mean_ms(self) -> float:
        return self.total_ms / self.count if self.count else 0.0


@dataclass
class Degradation:
    """A stage that was not as it should be."""

    frames: int = 0
    why: str = ""
    """The first reason that was given."""


@dataclass
class Tally:
    """Takes in one answer after another."""

    frames: int = 0
    empty: Gap = field(default_factory=Gap)
    """Frames on which there was no object at all; complete after `finish`."""
    objects: dict[int, ObjectTally] = field(default_factory=dict)
    inside: dict[str, Sum] = field(default_factory=dict)
    """queue, decode, infer, encode: in all services together, every frame."""
    stages: dict[str, Sum] = field(default_factory=dict)
    """detect, track, segment: as the gateway measured them, where they had something to do."""
    degraded: dict[str, Degradation] = field(default_factory=dict)
    _empty_since: int | None = None
    _last_frame: int = -1

    def add(self, answer: LiveFrame) -> None:
        self.frames += 1
        there = [entry for entry in answer.objects if entry.box is not None]
        self._count_empty(answer.frame_id, not there)
        for entry in there:
            self._seen(answer.frame_id, entry)
        self._add_inside(answer)
        for report in answer.stages:
            self._reported(report)

    def finish(self) -> None:
        """No frame comes any more."""
        self._count_empty(self._last_frame + 1, False)

    def words_that_found_nothing(self, texts: tuple[str, ...]) -> list[str]:
        """The prompts that no object answers."""
        found = {known.prompt.casefold() for known in self.objects.values()}
        return [text for text in texts if text.casefold() not in found]

    @property
    def detector_never_answered(self) -> bool:
        """True if every detection failed."""
        failed = self.degraded.get("detect", Degradation()).frames
        return failed > 0 and failed >= self.stages.get("detect", Sum()).count

    def _count_empty(self, frame: int, is_empty: bool) -> None:
        self._last_frame = frame
        if is_empty and self._empty_since is None:
            self._empty_since = frame
        elif not is_empty and self._empty_since is not None:
            self.empty.add(self._empty_since, frame - 1)
            self._empty_since = None

    def _add_inside(self, answer: LiveFrame) -> None:
        # The answer's own sums count the gateway's wait for its services as work.
        timings = [report.timing for report in answer.stages]
        for name in ("queue", "decode", "infer", "encode"):
            spent_ms = sum(getattr(timing, f"{name}_ms") for timing in timings)
            if name == "queue":
                spent_ms += answer.timing.queue_ms
            self.inside.setdefault(name, Sum()).add(spent_ms)

    def _seen(self, frame: int, entry: LiveObject) -> None:
        known = self.objects.get(entry.object_id)
        if known is None:
            known = ObjectTally(entry.object_id, entry.label, entry.prompt, frame, frame)
            self.objects[entry.object_id] = known
        # A name may come later than its object.
        known.label, known.prompt = entry.label or known.label, entry.prompt or known.prompt
        if entry.name is not None and entry.name.decided:
            known.name = entry.name.name
        known.seen(frame)

    def _reported(self, report: StageReport) -> None:
        self.stages.setdefault(report.stage, Sum()).add(report.total_ms)
        if report.degraded is not None:
            entry = self.degraded.setdefault(report.stage, Degradation(why=report.degraded.message))
            entry.frames += 1
