"""Which frames are encoded together, and by whom."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FRAMES = 250
"""At most, about: where x264 would begin anew anyway, so that chunks cost no bytes."""
_LEAST_FRAMES = 50
"""A chunk of its own begins with a picture that takes many bytes."""
_MANY = 8
_DECODING_SHARE = 0.15
"""Of a frame's time, decoding alone."""


@dataclass(frozen=True)
class Span:
    """Frames `first` to `last`, both included."""

    first: int
    last: int

    @property
    def frame_count(self) -> int:
        return self.last - self.first + 1


def plan_chunks(first: int, last: int, keyframes: NDArray[np.int64]) -> tuple[Span, ...]:
    """Cut a range into chunks of about one length, an even number of them where there are few: two
    cores are busy to the end. Cuts are at the source's key frames where they are near, so that
    decoding can begin there. The same range of the same file is always cut alike."""
    total = last + 1 - first
    count = _count(total)
    around = total // count // 4
    ideal = [first + number * total // count for number in range(1, count)]
    cuts = [first, *(_cut(frame, around, keyframes) for frame in ideal)]
    ends = [cut - 1 for cut in cuts[1:]] + [last]
    return tuple(Span(a, b) for a, b in zip(cuts, ends, strict=True))


def _count(total: int) -> int:
    if total < 2 * _LEAST_FRAMES:
        return 1
    count = max(-(-total // _FRAMES), 2)
    return count + count % 2 if count < _MANY else count


def _cut(ideal: int, around: int, keyframes: NDArray[np.int64]) -> int:
    """The key frame nearest to the goal, if there is one about there."""
    near = keyframes[np.searchsorted(keyframes, ideal - around) :]
    near = near[: np.searchsorted(near, ideal + around)]
    return int(near[np.argmin(np.abs(near - ideal))]) if len(near) else ideal


class Shares:
    """Deals chunks to lanes so that each goes through neighbours for as long as it can: seeking
    means to decode again what lies between a key frame and the chunk.

    Invariant: a chunk is free, taken by one lane, or done.
    """

    def __init__(
        self, chunks: Sequence[Span], done: Collection[int], keyframes: NDArray[np.int64]
    ) -> None:
        self._chunks = chunks
        self._keyframes = keyframes
        self._free = set(range(len(chunks))) - set(done)
        self._taken: set[int] = set()

    def take(self, after: int | None) -> int | None:
        """A chunk for a lane that has just done `after`; None when there is none left."""
        if after is not None:
            self._taken.discard(after)
        if not self._free:
            return None
        follows = after is not None and after + 1 in self._free
        number = after + 1 if after is not None and follows else self._elsewhere()
        self._free.discard(number)
        self._taken.add(number)
        return number

    def _elsewhere(self) -> int:
        """The start of the longest run; if another lane comes to that, the place from which both
        are through soonest."""
        run = max(self._runs(), key=len)
        if run[0] - 1 not in self._taken:
            return run[0]
        return min(run, key=lambda number: self._cost(run, number))

    def _cost(self, run: list[int], number: int) -> float:
        """How long a run takes if it is shared out before `number`, in frames."""
        before = sum(self._chunks[other].frame_count for other in run if other < number)
        behind = sum(self._chunks[other].frame_count for other in run if other >= number)
        first = self._chunks[number].first
        sought = int(np.searchsorted(self._keyframes, first, side="right")) - 1
        again = first - int(self._keyframes[sought]) if sought >= 0 else first
        return max(before, behind + _DECODING_SHARE * again)

    def _runs(self) -> list[list[int]]:
        runs: list[list[int]] = []
        for number in sorted(self._free):
            if runs and runs[-1][-1] == number - 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return runs
