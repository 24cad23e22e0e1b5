"""What the three tasks of one stream share."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Generic

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.edits import EditBook
from kinemask_chassis.streams.handler import EditT, FrameT, PreparedT
from kinemask_chassis.streams.queue import FrameEntry, FrameQueue
from kinemask_chassis.streams.signal import Signal
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.streams.walks import WalkBook

MAX_UNSENT = 64
"""Answers to edits, and steps of walks, that may wait for the client to read; the reader stops
there."""

WALK_CUT = errors.aborted(
    "the server leaves; what was sent of this propagation stays valid", reason="PROPAGATION_CUT"
)


@dataclass(eq=False)
class Work(Generic[FrameT, PreparedT]):
    """One frame that was read, and when what happened to it (seconds, monotonic)."""

    frame: FrameT
    received_s: float
    started_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    stepped_s: float = 0.0
    prepared: PreparedT | None = None
    failure: Exception | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)


Entry = FrameEntry[Work[FrameT, PreparedT], Message]


@dataclass(frozen=True)
class StreamLoad:
    """How much one stream holds now; each number has a bound that no client can move."""

    frames: int
    """Frames read and not yet answered: at most the window."""
    entries: int
    """Frames and skipped ranges in the queue: at most twice the window, and one."""
    edits: int
    """Edits that wait for their frame."""
    unsent: int
    """Answers to edits, steps of walks and snapshots that the client has not read."""


class StreamState(Generic[FrameT, EditT, PreparedT]):
    """Written by the reader, the worker and the writer of one event loop.

    Invariants: `last_told <= last_read` and `last_stepped <= last_read`; `in_work` counts the
    entries between being started and being answered.
    """

    def __init__(self, terms: StreamTerms) -> None:
        self.queue: FrameQueue[Work[FrameT, PreparedT], Message] = FrameQueue(
            terms.window, terms.policy
        )
        self.edits: EditBook[EditT] = EditBook()
        self.side: deque[Message] = deque()
        """Answers that need not wait for a frame's turn."""
        self.walks = WalkBook()
        self.signal = Signal()
        self.last_read = terms.resumed_after if terms.resumed_after is not None else -1
        self.last_stepped = self.last_read
        self.last_told = self.last_read
        self.in_work = 0
        self.snapshot_after: int | None = None
        """A snapshot is wanted once this frame was stepped."""
        self.input_over = False
        self.work_over = False
        self.drain_deadline_s: float | None = None

    @property
    def draining(self) -> bool:
        return self.drain_deadline_s is not None

    @property
    def drain_left_s(self) -> float:
        """Seconds until this side has to be gone; 0 once they are over."""
        return max(0.0, (self.drain_deadline_s or 0.0) - time.monotonic())

    @property
    def unsent(self) -> int:
        """What the client has not read, frames' answers aside."""
        return len(self.side) + self.walks.unread

    @property
    def load(self) -> StreamLoad:
        return StreamLoad(self.queue.unanswered, len(self.queue), len(self.edits), self.unsent)

    def drain(self, grace_s: float) -> None:
        """Take nothing more in; the client sends again what no work has begun on.

        Walks end here: the frames they go over stay behind.
        """
        self.drain_deadline_s = time.monotonic() + grace_s
        self.queue.cut_waiting()
        self.walks.end_all(WALK_CUT.to_status())
        self.signal.changed()

    @property
    def nothing_more_to_step(self) -> bool:
        """True if no frame will come, and none is left that work could begin on."""
        over = self.input_over or self.draining
        return over and not self.in_work and next(self.queue.waiting(), None) is None

    @property
    def all_told(self) -> bool:
        return self.work_over and len(self.queue) == 0 and not self.walks.unread
