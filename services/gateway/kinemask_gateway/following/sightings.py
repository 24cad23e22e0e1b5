"""Where detections found what was followed, and where they did not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int]
"""First and last frame, both included."""


@dataclass
class Sightings:
    """For each object, the frames on which it may have been somewhere else than its mask.

    These lie between the last round that found it and the next one that does, if one between them
    did not, or if the shot ends before. Grows with how often objects were missed, not with frames.
    """

    found_at: dict[int, int] = field(default_factory=dict)
    """Object id to the frame of the last round that found it."""
    missed: dict[int, list[list[int]]] = field(default_factory=dict)
    """Object id to spans [first, last], ascending; the last one may still be going on."""
    doubted: set[int] = field(default_factory=set)
    """Objects whose mask disagreed with the detection when they were found last."""

    def add_round(
        self,
        frame: int,
        found: Iterable[int],
        missed: Iterable[int],
        doubtful: Collection[int] = (),
        drifted: Collection[int] = (),
    ) -> None:
        """Note what a round found and missed.

        `doubtful`: those found whose mask disagrees with their detection: neither before nor
        after it is known where the mask went wrong. `drifted`: those whose mask disagreed until
        they were prompted again: before it is not known.
        """
        for object_id in missed:
            begin = self.found_at.get(object_id)
            if begin is None:
                continue  # prompted by hand: no detection is expected
            spans = self.missed.setdefault(object_id, [])
            if spans and spans[-1][0] == begin + 1:
                spans[-1][1] = frame
            else:
                spans.append([begin + 1, frame])
        for object_id in found:
            spans = self.missed.get(object_id, [])
            begin = self.found_at.get(object_id, frame) + 1
            if spans and spans[-1][0] == begin:
                spans[-1][1] = frame - 1
            elif begin < frame and self._unsure_since(object_id, doubtful, drifted):
                self.missed.setdefault(object_id, []).append([begin, frame - 1])
            self.found_at[object_id] = frame
            (self.doubted.add if object_id in doubtful else self.doubted.discard)(object_id)

    def end_shot(self, first: int, last: int) -> None:
        """No round after `last` can confirm where things were since one found them there.

        `first`: the shot's first frame.
        """
        for object_id, found_at in self.found_at.items():
            spans = self.missed.get(object_id, [])
            told = bool(spans) and spans[-1][0] == found_at + 1
            if first <= found_at < last and not told:
                self.missed.setdefault(object_id, []).append([found_at + 1, last])

    def _unsure_since(
        self, object_id: int, doubtful: Collection[int], drifted: Collection[int]
    ) -> bool:
        """Whether its mask cannot be trusted since the last round that found it."""
        return object_id in doubtful or object_id in drifted or object_id in self.doubted

    def to_json(self) -> list[Any]:
        """For a checkpoint."""
        told = [[[k, v] for k, v in each.items()] for each in (self.found_at, self.missed)]
        return [*told, sorted(self.doubted)]

    @classmethod
    def from_json(cls, told: Any) -> Sightings:
        """The other way round."""
        found_at, missed, doubted = told
        return cls(
            {int(k): int(v) for k, v in found_at},
            {int(k): [[int(a), int(b)] for a, b in v] for k, v in missed},
            set(doubted),
        )


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """What is left of spans, both ascending, where holes are cut out."""
    left: list[Span] = []
    cuts = sorted(holes)
    for first, last in spans:
        begin = first
        for low, high in cuts:
            if high < begin or low > last:
                continue
            if low > begin:
                left.append((begin, low - 1))
            begin = max(begin, high + 1)
        if begin <= last:
            left.append((begin, last))
    return left


def under(
    missed: Mapping[int, list[list[int]]], same_as: Mapping[int, int]
) -> dict[int, list[Span]]:
    """Missed spans, duplicates under the id they go under."""
    found: dict[int, list[Span]] = {}
    for object_id, spans in missed.items():
        mine = found.setdefault(same_as.get(object_id, object_id), [])
        mine += [(first, last) for first, last in spans]
    return found
