"""What became of each object: how often it was covered, how much of it, and by what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from kinemask_chassis.snapshots import Json

Span = tuple[int, int]
"""Frames, both ends included."""


@dataclass
class Covered:
    """One object over the frames that were drawn."""

    label: str = ""
    name: str = ""
    """The person's, where it is decided."""
    frames: int = 0
    """With a mask."""
    covered_frames: int = 0
    guarded_frames: int = 0
    """Covered by a mask of the leak guard's."""
    share_sum: float = 0.0
    least_share: float = 1.0
    effects: list[str] = field(default_factory=list)
    """Names, in the order they are drawn."""
    undecided: list[Span] = field(default_factory=list)
    """Frames on which it was covered because nobody knew who it was."""

    def add_frame(self, share: float, effects: Iterable[str], guarded: bool) -> None:
        """A frame on which `share` of its mask was covered, 0..1."""
        self.frames += 1
        self.covered_frames += share > 0
        self.guarded_frames += guarded and share > 0
        self.share_sum += share
        self.least_share = min(self.least_share, share)
        self.effects += [name for name in effects if name not in self.effects]

    def merge(self, later: Covered) -> None:
        """Add the frames that came after."""
        self.label, self.name = later.label or self.label, later.name or self.name
        self.frames += later.frames
        self.covered_frames += later.covered_frames
        self.guarded_frames += later.guarded_frames
        self.share_sum += later.share_sum
        self.least_share = min(self.least_share, later.least_share)
        self.effects += [name for name in later.effects if name not in self.effects]
        for span in later.undecided:
            extend(self.undecided, *span)


@dataclass
class Coverage:
    """All objects, and the frames that could not be decoded, or only with errors."""

    objects: dict[int, Covered] = field(default_factory=dict)
    damaged: list[Span] = field(default_factory=list)

    def of(self, object_id: int) -> Covered:
        return self.objects.setdefault(object_id, Covered())

    def merge(self, later: Coverage) -> None:
        """Add the frames that came after."""
        for object_id, covered in later.objects.items():
            self.of(object_id).merge(covered)
        for span in later.damaged:
            extend(self.damaged, *span)

    def to_json(self) -> Json:
        """For storing; `from_json` takes it back."""
        objects: dict[str, Json] = {
            str(number): cast(Json, vars(covered)) for number, covered in self.objects.items()
        }
        return {"objects": objects, "damaged": cast(Json, self.damaged)}

    @classmethod
    def from_json(cls, told: Json) -> Coverage:
        facts = cast("dict[str, dict[str, dict[str, object]]]", told)
        made = cls(damaged=[_span(span) for span in cast("list[list[int]]", facts["damaged"])])
        for number, values in facts["objects"].items():
            covered = Covered(**values)  # type: ignore[arg-type]  # as `vars` gave them
            covered.undecided = [_span(span) for span in covered.undecided]
            made.objects[int(number)] = covered
        return made


def extend(spans: list[Span], first: int, last: int) -> None:
    """Add frames that come after all others; neighbours become one."""
    if spans and spans[-1][1] + 1 >= first:
        spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
    else:
        spans.append((first, last))


def _span(pair: Iterable[int]) -> Span:
    first, last = pair
    return first, last
