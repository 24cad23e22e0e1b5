"""The frame queue under any interleaving of what happens to it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from kinemask_chassis.streams.queue import EntryState, FrameEntry, FrameQueue, Policy, SkipRun


class AnyInterleaving(RuleBasedStateMachine):
    """Plays reader, worker and writer at random; `told` is what a client would have heard.

    Frame ids have gaps, so that a skipped range is not simply its ends' difference.
    """

    @initialize(window=st.integers(1, 5), policy=st.sampled_from(Policy))
    def begin(self, window: int, policy: Policy) -> None:
        self.queue: FrameQueue[str, str] = FrameQueue(window, policy)
        self.read: list[int] = []
        self.told: list[int] = []
        self.skipped: set[int] = set()
        self.dropped = 0
        self.started: list[FrameEntry[str, str]] = []
        self.being_written: FrameEntry[str, str] | SkipRun | None = None

    @precondition(lambda self: not (self.queue.policy is Policy.BLOCK and self.queue.full))
    @rule(gap=st.integers(1, 3))
    def offer(self, gap: int) -> None:
        frame_id = (self.read[-1] if self.read else 0) + gap
        waiting_before = [entry.frame_id for entry in self.queue.waiting()]
        was_full = self.queue.full
        self.read.append(frame_id)
        entry, dropped = self.queue.offer(frame_id, f"frame {frame_id}")
        self.dropped += dropped
        assert dropped == int(was_full)
        if not was_full:
            assert entry is not None
        elif self.queue.policy is Policy.LATEST and waiting_before:
            assert entry is not None
            assert waiting_before[0] not in [e.frame_id for e in self.queue.waiting()]
        else:
            assert entry is None

    @precondition(lambda self: next(self.queue.waiting(), None) is not None)
    @rule()
    def start_the_oldest(self) -> None:
        entry = next(self.queue.waiting())
        assert entry.frame == f"frame {entry.frame_id}"
        entry.state = EntryState.STARTED
        self.started.append(entry)

    @precondition(lambda self: bool(self.started))
    @rule(data=st.data())
    def answer_any(self, data: st.DataObject) -> None:
        entry = self.started.pop(data.draw(st.integers(0, len(self.started) - 1)))
        entry.state = EntryState.ANSWERED

    @precondition(lambda self: next(self.queue.waiting(), None) is not None)
    @rule(data=st.data())
    def refuse_any_that_waits(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.queue.waiting()))).state = EntryState.ANSWERED

    @precondition(lambda self: self.being_written is None and self.queue.ready)
    @rule()
    def begin_to_write(self) -> None:
        self.being_written = self.queue.pop_ready()

    @precondition(lambda self: self.being_written is not None)
    @rule()
    def end_writing(self) -> None:
        entry, self.being_written = self.being_written, None
        assert entry is not None
        self.queue.written(entry)
        if isinstance(entry, FrameEntry):
            self.told.append(entry.frame_id)
            return
        covered = [i for i in self.read if entry.first_frame_id <= i <= entry.last_frame_id]
        assert len(covered) == entry.count
        self.told.extend(covered)
        self.skipped.update(covered)

    @invariant()
    def order_is_kept_and_each_is_told_once(self) -> None:
        assert self.told == self.read[: len(self.told)]

    @invariant()
    def size_is_bounded(self) -> None:
        assert len(self.queue) <= 2 * self.queue.window + 1
        assert 0 <= self.queue.unanswered <= self.queue.window

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        for entry in [*self.started, *self.queue.waiting()]:
            entry.state = EntryState.ANSWERED
        while self.being_written is not None or self.queue.ready:
            if self.being_written is None:
                self.begin_to_write()
            self.end_writing()
        assert self.told == self.read
        assert len(self.skipped) == self.dropped
        assert (len(self.queue), self.queue.unanswered) == (0, 0)


AnyInterleaving.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None
)
test_any_interleaving = AnyInterleaving.TestCase


def drained(
    queue: FrameQueue[str, str], begun: list[FrameEntry[str, str]]
) -> list[tuple[int, int]]:
    """(first, last) of everything in the queue, once all of it is answered."""
    told = []
    for entry in [*begun, *queue.waiting()]:
        entry.state = EntryState.ANSWERED
    while (head := queue.pop_ready()) is not None:
        queue.written(head)
        if isinstance(head, SkipRun):
            told.append((head.first_frame_id, head.last_frame_id))
        else:
            told.append((head.frame_id, head.frame_id))
    return told


def filled(
    window: int, policy: Policy, frames: int, started: int = 0
) -> tuple[FrameQueue[str, str], list[FrameEntry[str, str]]]:
    """A queue that was offered so many frames, and the entries of the first, already begun."""
    queue: FrameQueue[str, str] = FrameQueue(window, policy)
    begun = []
    for frame_id in range(frames):
        entry, _ = queue.offer(frame_id, "frame")
        if entry is not None and frame_id < started:
            entry.state = EntryState.STARTED
            begun.append(entry)
    return queue, begun


def test_block_is_never_offered_more_than_the_window() -> None:
    with pytest.raises(RuntimeError, match="the window was full"):
        filled(2, Policy.BLOCK, 3)


def test_window_holds_at_least_one_frame() -> None:
    with pytest.raises(ValueError, match="at least 1 frame, not 0"):
        FrameQueue(0, Policy.BLOCK)


@pytest.mark.parametrize(
    ("started", "told"),
    [
        pytest.param(0, [(0, 5), (6, 6), (7, 7), (8, 8)], id="all wait: the oldest six go"),
        pytest.param(1, [(0, 0), (1, 6), (7, 7), (8, 8)], id="one in work keeps its place"),
        pytest.param(3, [(0, 0), (1, 1), (2, 2), (3, 8)], id="all in work: the new ones go"),
    ],
)
def test_latest_keeps_the_newest(started: int, told: list[tuple[int, int]]) -> None:
    assert drained(*filled(3, Policy.LATEST, 9, started)) == told


def test_cut_forgets_the_first_waiting_frame_and_all_behind_it() -> None:
    queue, _ = filled(4, Policy.REJECT, 7, started=2)
    assert queue.cut_waiting() == 2
    assert (len(queue), queue.unanswered) == (2, 2)
