"""The frames of one stream between being read and being answered, in order.

Pure bookkeeping, without I/O or time: the policies of the stream contract live here.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

FrameT = TypeVar("FrameT")
AnswerT = TypeVar("AnswerT")


class Policy(enum.Enum):
    """What happens to a frame that arrives when the window is full."""

    BLOCK = "block"
    LATEST = "latest"
    REJECT = "reject"


class EntryState(enum.Enum):
    WAITING = "waiting"
    STARTED = "started"
    ANSWERED = "answered"


@dataclass(eq=False)
class FrameEntry(Generic[FrameT, AnswerT]):
    """One frame, from the moment it was read."""

    frame_id: int
    frame: FrameT
    state: EntryState = EntryState.WAITING
    answers: list[AnswerT] = field(default_factory=list)
    """What to write when it is this frame's turn; filled when it is answered."""


@dataclass(eq=False)
class SkipRun:
    """Frames in a row that will not be worked on: all those read with an id in the range."""

    first_frame_id: int
    last_frame_id: int
    count: int


class FrameQueue(Generic[FrameT, AnswerT]):
    """Entries in frame order; the head leaves when it is answered.

    Invariants: at most `window` frame entries; never two skip runs side by side. So the size is
    at most `2 * window + 1` whatever the client does.
    """

    def __init__(self, window: int, policy: Policy) -> None:
        if window < 1:
            raise ValueError(f"a window has at least 1 frame, not {window}")
        self.window = window
        self.policy = policy
        self._entries: deque[FrameEntry[FrameT, AnswerT] | SkipRun] = deque()
        self._frames = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def unanswered(self) -> int:
        """Frames read and neither answered nor skipped."""
        return self._frames

    @property
    def full(self) -> bool:
        return self._frames >= self.window

    def offer(self, frame_id: int, frame: FrameT) -> tuple[FrameEntry[FrameT, AnswerT] | None, int]:
        """Take a frame; returns its entry (None if it was skipped) and how many were skipped.

        Under BLOCK the caller reads no frame while the queue is full.
        """
        if not self.full:
            entry: FrameEntry[FrameT, AnswerT] = FrameEntry(frame_id, frame)
            self._entries.append(entry)
            self._frames += 1
            return entry, 0
        if self.policy is Policy.BLOCK:
            raise RuntimeError("a frame was read although the window was full")
        oldest = next(self.waiting(), None) if self.policy is Policy.LATEST else None
        if oldest is None:
            self._append_skipped(frame_id)
            return None, 1
        self._skip(oldest)
        return self.offer(frame_id, frame)[0], 1

    def waiting(self) -> Iterator[FrameEntry[FrameT, AnswerT]]:
        """Entries that no work has begun on, oldest first."""
        return (e for e in self._entries if isinstance(e, FrameEntry) and _waits(e))

    @property
    def ready(self) -> bool:
        """True if `pop_ready` has something to give."""
        if not self._entries:
            return False
        head = self._entries[0]
        return isinstance(head, SkipRun) or head.state is EntryState.ANSWERED

    def pop_ready(self) -> FrameEntry[FrameT, AnswerT] | SkipRun | None:
        """The head, if it can be told to the client; a frame still counts until `written`."""
        return self._entries.popleft() if self.ready else None

    def written(self, entry: FrameEntry[FrameT, AnswerT] | SkipRun) -> None:
        """The client was told of an entry that `pop_ready` gave."""
        if isinstance(entry, FrameEntry):
            self._frames -= 1

    def cut_waiting(self) -> int:
        """Forget the first waiting entry and everything after it; returns how many frames."""
        kept: deque[FrameEntry[FrameT, AnswerT] | SkipRun] = deque()
        while self._entries and not (
            isinstance(self._entries[0], FrameEntry) and _waits(self._entries[0])
        ):
            kept.append(self._entries.popleft())
        cut = sum(isinstance(entry, FrameEntry) for entry in self._entries)
        self._entries = kept
        self._frames -= cut
        return cut

    def _append_skipped(self, frame_id: int) -> None:
        last = self._entries[-1] if self._entries else None
        if isinstance(last, SkipRun):
            last.last_frame_id = frame_id
            last.count += 1
        else:
            self._entries.append(SkipRun(frame_id, frame_id, 1))

    def _skip(self, entry: FrameEntry[FrameT, AnswerT]) -> None:
        """Turn a waiting entry into a skip run and merge it with those beside it."""
        index = self._entries.index(entry)
        run = SkipRun(entry.frame_id, entry.frame_id, 1)
        self._entries[index] = run
        self._frames -= 1
        after = self._entries[index + 1] if index + 1 < len(self._entries) else None
        before = self._entries[index - 1] if index else None
        if isinstance(after, SkipRun):
            run.last_frame_id = after.last_frame_id
            run.count += after.count
            del self._entries[index + 1]
        if isinstance(before, SkipRun):
            before.last_frame_id = run.last_frame_id
            before.count += run.count
            del self._entries[index]


def _waits(entry: FrameEntry[FrameT, AnswerT]) -> bool:
    return entry.state is EntryState.WAITING
