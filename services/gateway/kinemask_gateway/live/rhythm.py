"""When to detect: every n frames, sooner when something happens and later when nothing does.

What happened on a frame counts from `LAG` frames later on, however early it is known: so the same
video is detected on the same frames, however quick the machines are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from kinemask.v1 import live_pb2

from kinemask_gateway.live.scenes import DEFAULT_CUT_THRESHOLD

DEFAULT_EVERY_N_FRAMES = 5
DEFAULT_MAX_FACTOR = 4
LAG = 4
_CALM_ROUNDS = 2


def fill_in_rhythm(wanted: live_pb2.AdaptiveDetection, every: int) -> None:
    """Put in the defaults."""
    wanted.min_every_n_frames = wanted.min_every_n_frames or 1
    most = wanted.max_every_n_frames or DEFAULT_MAX_FACTOR * every
    wanted.max_every_n_frames = max(most, wanted.min_every_n_frames)
    if not wanted.HasField("scene_cut_threshold"):
        wanted.scene_cut_threshold = DEFAULT_CUT_THRESHOLD


class Note(IntEnum):
    """What happened on a frame."""

    CALM_ROUND = 0
    """A detection found what was known."""
    EVENTFUL_ROUND = 1
    """It found something new, or did not find what was in sight."""
    LOST = 2
    """An object's mask became empty, or has another size all at once."""
    CROWDED = 3
    """Objects lie over each other."""


@dataclass
class Rhythm:
    """Counts frames.

    Invariants: the first frame is due; the interval stays between `least` and `most`.
    """

    every: int = DEFAULT_EVERY_N_FRAMES
    least: int = DEFAULT_EVERY_N_FRAMES
    most: int = DEFAULT_EVERY_N_FRAMES
    interval: int = DEFAULT_EVERY_N_FRAMES
    since_last: int = 0
    begun: bool = False
    soon: bool = False
    """Detect as soon as the least interval is over."""
    calm_rounds: int = 0
    notes: list[tuple[int, int]] = field(default_factory=list)
    """(frame_id, Note) that do not count yet."""

    @classmethod
    def of(cls, config: live_pb2.DetectStage) -> Rhythm:
        """The rhythm that a detect stage asks for."""
        every = config.every_n_frames or DEFAULT_EVERY_N_FRAMES
        wanted = config.adaptive
        if not config.HasField("adaptive") or wanted.disabled:
            return cls(every, every, every, every)
        least = wanted.min_every_n_frames or 1
        most = max(wanted.max_every_n_frames or DEFAULT_MAX_FACTOR * every, least)
        return cls(every, least, most, min(max(every, least), most))

    def due(self, frame_id: int, at_once: bool = False) -> bool:
        """Count a frame; true if it is to be detected on, which `at_once` demands."""
        self._hear(frame_id)
        self.since_last += 1
        wait = self.least if self.soon else self.interval
        if self.begun and self.since_last < wait and not at_once:
            return False
        if at_once:  # a new shot: nothing is known of it
            self.interval = self.usual
        self.begun, self.since_last, self.soon = True, 0, False
        return True

    @property
    def frames_to_next(self) -> int:
        """In how many frames the next one is due, if nothing happens: at least 1, the next."""
        wait = self.least if self.soon else self.interval
        return max(wait - self.since_last, 1) if self.begun else 1

    @property
    def usual(self) -> int:
        """The interval while something happens."""
        return min(max(self.every, self.least), self.most)

    def note(self, frame_id: int, what: Note) -> None:
        """Say what happened on a frame."""
        if self.least < self.most:
            self.notes.append((frame_id, int(what)))

    def postpone(self) -> None:
        """What was due could not begin: the next frame is due instead."""
        self.begun = False

    def to_facts(self) -> dict[str, Any]:
        """As JSON values, for a resume token."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Rhythm:
        """Raises KeyError, TypeError or ValueError for what `to_facts` did not give."""
        return cls(**{**facts, "notes": [(int(f), int(n)) for f, n in facts["notes"]]})

    def _hear(self, frame_id: int) -> None:
        old = sorted(entry for entry in self.notes if entry[0] <= frame_id - LAG)
        self.notes = [entry for entry in self.notes if entry[0] > frame_id - LAG]
        for _, what in old:
            if what == Note.LOST:
                self.soon = True
            elif what == Note.CROWDED:
                self.calm_rounds = 0
                self.interval = min(self.interval, self.usual)
            elif what == Note.EVENTFUL_ROUND:
                self.calm_rounds = 0
                self.interval = self.usual
            else:
                self._calm()

    def _calm(self) -> None:
        self.calm_rounds += 1
        if self.calm_rounds >= _CALM_ROUNDS:
            self.calm_rounds = 0
            self.interval = min(self.most, self.interval * 2)
