"""What an export is made from: tracks, narrowed to what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import MaskOrigin, TrackedFrame, TrackedObject


class StoppedError(Exception):
    """The result is wanted no more."""


@dataclass(frozen=True)
class Wanted:
    """Which objects, on which frames."""

    object_ids: frozenset[int] = frozenset()
    """Empty: all."""
    prompts: frozenset[str] = frozenset()
    """Without regard to case; empty: all."""
    min_score: float = 0.0
    omit_leak_guard: bool = False

    @classmethod
    def of(cls, spec: pb.ExportJobSpec) -> Wanted:
        prompts = frozenset(prompt.strip().casefold() for prompt in spec.prompts)
        ids = frozenset(spec.object_ids)
        return cls(ids, prompts, spec.min_score, spec.omit_leak_guard)

    def takes(self, entry: TrackedObject) -> bool:
        """Whether an object with a mask is to be written."""
        return (
            entry.present
            and (not self.object_ids or entry.object_id in self.object_ids)
            and (not self.prompts or entry.prompt.strip().casefold() in self.prompts)
            and entry.score >= self.min_score
            and not (self.omit_leak_guard and entry.origin is MaskOrigin.LEAK_GUARD)
        )


@dataclass
class Seen:
    """One object over all frames that are written."""

    label: str
    frames: int = 0
    first: int = 0
    last: int = 0


@dataclass
class TrackSource:
    """Frames to be written, as often as one likes; blocking.

    Memory: what one chunk of tracks holds, and a few numbers for each object.
    """

    reader: TracksReader
    wanted: Wanted
    first: int
    """Frame, in the video."""
    last: int
    name: str
    """The video's file name."""
    video_id: str
    fps: float
    on_frame: Callable[[], None]
    """Called for each frame of the first time through; raises StoppedError to end it."""
    objects: dict[int, Seen] = field(default_factory=dict)
    """Ascending by id, after `survey`."""

    @property
    def height(self) -> int:
        return self.reader.manifest.height

    @property
    def width(self) -> int:
        return self.reader.manifest.width

    @property
    def frame_count(self) -> int:
        return self.last - self.first + 1

    def survey(self) -> None:
        """Go through once to know who is there."""
        found: dict[int, Seen] = {}
        for frame in self.frames():
            for entry in frame.objects:
                seen = found.setdefault(entry.object_id, Seen(entry.label, first=frame.frame_index))
                seen.frames += 1
                seen.last = frame.frame_index
        self.objects = dict(sorted(found.items()))

    def categories(self) -> dict[str, int]:
        """A number from 1 for each label, by the alphabet."""
        labels = sorted({seen.label for seen in self.objects.values()})
        return {label: number for number, label in enumerate(labels, 1)}

    def frames(self, first: int | None = None, last: int | None = None) -> Iterator[TrackedFrame]:
        """Every frame, with the wanted objects alone."""
        low = self.first if first is None else first
        high = self.last if last is None else last
        for frame in self.reader.frames(low, high):
            self.on_frame()
            kept = tuple(entry for entry in frame.objects if self.wanted.takes(entry))
            yield TrackedFrame(frame.frame_index, frame.time_us, kept, frame.detected)
