"""Which frames a propagation walks over, and what it says to the segmenter on each.

Every object is carried over runs of frames without a gap. A run begins behind a frame that the
object's mask is known on, the seed: a prompted frame, or one that an earlier propagation finished.
Prompted frames keep the masks that their prompts gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from kinemask_gateway.annotations.spans import Spans, minus, of_frames, within

MaskAt = Callable[[int, int], bytes | None]
"""From object and frame to the RLE of its mask: empty if it is not there, None if nobody knows."""


class Direction(IntEnum):
    """Which way masks are carried; numbers as in annotations.proto."""

    BOTH = 1
    FORWARDS = 2
    BACKWARDS = 3


@dataclass(frozen=True)
class Target:
    """One object that is to be carried."""

    object_id: int
    prompted: Sequence[int]
    """Frames, ascending; of the whole video."""
    stale: Spans
    imported: bool = False
    """It came with masks: BOTH ways leaves it alone before its first prompt."""


@dataclass(frozen=True)
class Run:
    """Frames that one object is carried over, in the order of the walk."""

    object_id: int
    frames: range
    seed_frame: int
    rle: bytes
    """The mask it begins with; empty: the object is not there."""


@dataclass
class Step:
    """One frame of a walk."""

    frame_index: int
    seeds: dict[int, bytes] = field(default_factory=dict)
    """Masks to tell, by object."""
    gone: set[int] = field(default_factory=set)
    """Objects to forget before this frame."""
    wanted: set[int] = field(default_factory=set)
    """Objects whose masks here are to be kept."""
    absent: set[int] = field(default_factory=set)
    """Those of `wanted` that are known not to be there."""


@dataclass(frozen=True)
class Plan:
    """Two walks; either may be empty."""

    forwards: tuple[Step, ...]
    backwards: tuple[Step, ...]
    unreachable: bool
    """Whether frames were asked for that no seed leads to."""

    @property
    def total_frames(self) -> int:
        """Frames whose masks are to be made, those of both walks counted twice."""
        return sum(bool(step.wanted) for step in (*self.forwards, *self.backwards))


def make_plan(
    targets: Iterable[Target],
    span: tuple[int, int],
    direction: Direction,
    mask_at: MaskAt,
    *,
    only_stale: bool,
) -> Plan:
    """The walks over a range. Blocking if `mask_at` is."""
    ahead: list[Run] = []
    back: list[Run] = []
    missed = False
    for target in targets:
        for first, last in _todo(target, span, only_stale):
            forwards = _forwards(target, last, direction)
            if forwards is None:
                continue
            frames = range(first, last + 1) if forwards else range(last, first - 1, -1)
            run = _seeded(target.object_id, frames, mask_at)
            missed |= run is None
            if run is not None:
                (ahead if forwards else back).append(run)
    return Plan(_steps(ahead), _steps(back), missed)


def _todo(target: Target, span: tuple[int, int], only_stale: bool) -> Spans:
    wanted = within(target.stale, *span) if only_stale else (span,)
    return minus(wanted, of_frames(target.prompted))


def _forwards(target: Target, last: int, direction: Direction) -> bool | None:
    """Which way a run that ends with `last` is walked; None: not at all."""
    if direction is not Direction.BOTH:
        return direction is Direction.FORWARDS
    before = not target.prompted or last < target.prompted[0]
    if before and target.imported:
        return None
    return not before or not target.prompted


def _seeded(object_id: int, frames: range, mask_at: MaskAt) -> Run | None:
    """A run with what it begins with; its own first frame, where nothing is known before that."""
    before = frames.start - frames.step
    rle = mask_at(object_id, before)
    if rle is not None:
        return Run(object_id, frames, before, rle)
    rle = mask_at(object_id, frames.start)
    return None if rle is None else Run(object_id, frames[1:], frames.start, rle)


def _steps(runs: Sequence[Run]) -> tuple[Step, ...]:
    """What happens on each frame, in the order of the walk."""
    found: dict[int, Step] = {}
    for run in runs:
        _step(found, run.seed_frame).seeds[run.object_id] = run.rle
        for frame in run.frames:
            _step(found, frame).wanted.add(run.object_id)
    backwards = any(run.frames.step < 0 for run in runs)
    ordered = [found[frame] for frame in sorted(found, reverse=backwards)]
    active: set[int] = set()
    before: Step | None = None
    for step in ordered:
        follows = before is not None and abs(step.frame_index - before.frame_index) == 1
        _settle(step, active, follows=follows)
        before = step
    return tuple(ordered)


def _settle(step: Step, active: set[int], *, follows: bool) -> None:
    """Who is let go, who is not there; `active` are those that the segmenter follows."""
    goes_on = step.wanted | step.seeds.keys() if follows else set()
    step.gone = {key for key in active if key not in goes_on or step.seeds.get(key) == b""}
    active.difference_update(step.gone)
    step.seeds = {key: rle for key, rle in sorted(step.seeds.items()) if rle}
    active.update(step.seeds)
    step.absent = step.wanted - active


def _step(found: dict[int, Step], frame: int) -> Step:
    return found.setdefault(frame, Step(frame))


def masks_of(known: Mapping[tuple[int, int], bytes | None]) -> MaskAt:
    """A `MaskAt` over what was read before."""
    return lambda object_id, frame: known.get((object_id, frame))
