"""Frames dropped before they were sent, and by the server: each is told once, in its turn."""

from __future__ import annotations

from collections import deque

import grpc
import kinemask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kinemask.client import _kinds
from kinemask.client._inbox import Inbox
from kinemask.client._ledger import FrameEntry, Ledger
from kinemask.config import PolicyName
from kinemask.v1 import segmenter_pb2, streams_pb2, tracker_pb2
from kinemask_chassis.streams.queue import EntryState, FrameQueue, Policy, SkipRun
from kinemask_chassis.streams.queue import FrameEntry as Read

from tests.client.client_fakes import rich_status

BY_SERVER = rich_status(grpc.StatusCode.ABORTED, "the server dropped it", "FRAME_DROPPED")
WINDOW = 2


class Link:
    """A client's bookkeeping and a server's queue, which go on only when they are told to.

    A frame is on the wire between `write` and `read`, and in work from `begin` to `answer`.
    """

    def __init__(self, policy: PolicyName) -> None:
        options = kinemask.StreamOptions(policy=policy)
        kind = _kinds.track_kind(kinemask.TrackStage(), options)
        self.ledger = Ledger(policy, keep_frames=4)
        self.ledger.window = WINDOW
        self.inbox = Inbox(kind, self.ledger, "r1")
        self.handed = 0
        self._policy = Policy(policy)
        self._connect()

    def _connect(self) -> None:
        self.wire: deque[int] = deque()
        self.queue: FrameQueue[int, int] = FrameQueue(WINDOW, self._policy)
        self.begun: deque[Read[int, int]] = deque()
        self.last_told = self.ledger.token_frame_id

    def send(self) -> None:
        self.ledger.add_frame(FrameEntry(self.handed, 0, tracker_pb2.TrackRequest()))
        self.inbox.tell_dropped()
        self.handed += 1

    def write(self) -> None:
        if self.ledger.can_write:
            entry = self.ledger.take_to_write()
            assert isinstance(entry, FrameEntry)
            self.wire.append(entry.frame_id)

    def read(self) -> None:
        if self.wire:
            frame_id = self.wire.popleft()
            self.queue.offer(frame_id, frame_id)

    def begin(self) -> None:
        if (entry := next(self.queue.waiting(), None)) is not None:
            entry.state = EntryState.STARTED
            self.begun.append(entry)

    def answer(self) -> None:
        if self.begun:
            self.begun.popleft().state = EntryState.ANSWERED

    def tell(self) -> None:
        if (entry := self.queue.pop_ready()) is None:
            return
        self.queue.written(entry)
        if isinstance(entry, SkipRun):
            first, last = entry.first_frame_id, entry.last_frame_id
            run = streams_pb2.FramesSkipped(
                first_frame_id=first, last_frame_id=last, count=entry.count, status=BY_SERVER
            )
            self.last_told = last
            self.inbox.take(tracker_pb2.TrackResponse(skipped=run))
        else:
            self.last_told = entry.frame_id
            result = tracker_pb2.TrackResult(frame_id=entry.frame_id)
            self.inbox.take(tracker_pb2.TrackResponse(result=result))

    def keep(self) -> None:
        """The server sends a snapshot."""
        if self.last_told >= 0:
            self.ledger.snapshot(self.last_told, b"token")

    def leave(self) -> None:
        """The server says goodbye, with everything told that it has begun."""
        self.queue.cut_waiting()
        while self.begun or self.queue.ready:
            self.answer()
            self.tell()
        self.ledger.go_away(b"token", self.last_told if self.last_told >= 0 else None)
        self.ledger.restart()
        self._connect()

    def vanish(self) -> None:
        """The server dies; the stream goes on from its last snapshot."""
        if self.ledger.restartable:
            self.ledger.restart()
            self._connect()

    def settle(self) -> None:
        """Everything handed over comes to its end."""
        while not self.ledger.idle or self.wire or len(self.queue):
            for move in (self.write, self.read, self.begin, self.answer, self.tell):
                move()


def play(policy: PolicyName, moves: list[str]) -> list[kinemask.TrackedFrame]:
    """Every answer, once the moves are made and the stream is finished."""
    link = Link(policy)
    for move in moves:
        getattr(link, move)()
    link.settle()
    assert [answer.frame_id for answer in link.inbox.answers] == list(range(link.handed))
    assert link.ledger.untold == 0
    return list(link.inbox.answers)


BOTH_DROP = [
    *("send", "write", "read", "begin"),
    *("send", "write", "read"),
    # The client drops 2: no more than 3 and 4 may wait to be written.
    *("send", "send", "send"),
    # The server drops 1, then 3, which to it come one after the other: a range from 1 to 3.
    *("write", "read", "write", "read"),
]

MOVES = ["send", "send", "write", "read", "begin", "answer", "tell", "keep", "leave", "vanish"]


@given(
    policy=st.sampled_from(["latest", "reject"]),
    moves=st.lists(st.sampled_from(MOVES), max_size=80),
)
@example(policy="latest", moves=BOTH_DROP)
@settings(max_examples=300, deadline=None)
def test_every_frame_is_told_once_and_in_order(policy: PolicyName, moves: list[str]) -> None:
    play(policy, moves)


def test_a_skipped_range_goes_over_frames_that_were_never_sent() -> None:
    answers = play("latest", BOTH_DROP)
    assert [answer.ok for answer in answers] == [True, False, False, False, True]
    assert all(answer.skipped for answer in answers[1:4])
    assert [str(answer.error).partition(" [")[0] for answer in answers[1:4]] == [
        "the server dropped it",
        "newer frames came before it could be sent",
        "the server dropped it",
    ]


@pytest.mark.parametrize("policy", ["latest", "reject"])
def test_pictures_of_dropped_frames_are_not_kept(policy: PolicyName) -> None:
    ledger = Ledger(policy, keep_frames=4)
    ledger.window = WINDOW
    entries = [FrameEntry(number, 0, _picture(1000)) for number in range(50)]
    for entry in entries:
        ledger.add_frame(entry)
    assert ledger.untold == 50  # the server has answered nothing
    assert sum(entry.request.ByteSize() > 1000 for entry in entries) == WINDOW


def _picture(size: int) -> segmenter_pb2.SegmentVideoRequest:
    request = segmenter_pb2.SegmentVideoRequest()
    request.frame.image.encoded = bytes(size)
    return request
