"""The bookkeeping of a stream against a model of servers that leave and vanish at any moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask.client._ledger import EditEntry, FrameEntry, Ledger, ProtocolError, State
from kinemask.config import PolicyName
from kinemask.v1 import live_pb2

REQUEST = live_pb2.StreamRequest()


def frame(frame_id: int) -> FrameEntry:
    return FrameEntry(frame_id, 0, REQUEST)


def ledger_of(policy: PolicyName = "block", window: int = 4, keep: int = 0) -> Ledger:
    ledger = Ledger(policy, keep)
    ledger.window = window
    return ledger


def written(ledger: Ledger) -> list[int]:
    """Write all that may be written; returns the ids, edits negative."""
    ids = []
    while ledger.can_write:
        entry = ledger.take_to_write()
        ids.append(entry.frame_id if isinstance(entry, FrameEntry) else -entry.edit_id)
    return ids


class ModelServer:
    """A server that is always right: what it has stepped, and the tokens it gives."""

    def __init__(self) -> None:
        self.stepped: list[int] = []
        self.waiting: list[int] = []

    @classmethod
    def resumed(cls, token: bytes) -> ModelServer:
        server = cls()
        server.stepped = [int(part) for part in token.decode().split(",") if part]
        return server

    def step(self) -> int:
        """Edits are negative and step at once; returns the frame."""
        while self.waiting[0] < 0:
            self.stepped.append(self.waiting.pop(0))
        self.stepped.append(self.waiting.pop(0))
        return self.stepped[-1]

    def token(self) -> bytes:
        return ",".join(map(str, self.stepped)).encode()


ACTIONS = st.lists(st.sampled_from(["frame", "edit", "step", "step", "go_away", "vanish"]))


@given(actions=ACTIONS, every=st.integers(1, 5), window=st.integers(1, 5))
def test_no_frame_or_edit_is_lost_doubled_or_reordered(
    actions: list[str], every: int, window: int
) -> None:
    ledger = ledger_of(window=window, keep=every)
    server, since = ModelServer(), 0
    handed: list[int] = []
    told: list[int] = []
    edits = 0

    def step() -> None:
        nonlocal since
        server.waiting += written(ledger)
        if not any(entry >= 0 for entry in server.waiting):
            return
        before = len(server.stepped)
        frame_id = server.step()
        for edit in server.stepped[before:-1]:
            ledger.settle_edit(-edit, frame_id, applied=True)
        entry = ledger.answer(frame_id)
        told.extend([entry.frame_id] if entry else [])
        since += 1
        if since >= every:
            since = 0
            ledger.snapshot(frame_id, server.token())

    for action in actions:
        if action == "frame" and ledger.has_room:
            ledger.add_frame(frame(ledger.last_frame_id + 1))
            handed.append(ledger.last_frame_id)
        elif action == "edit":
            edits += 1
            ledger.add_edit(EditEntry(edits, None, REQUEST))
            handed.append(-edits)
        elif action == "step":
            step()
        elif action == "go_away":
            last = [entry for entry in server.stepped if entry >= 0][-1:]
            ledger.go_away(server.token(), last[0] if last else None)
            ledger.restart()
            server, since = ModelServer.resumed(ledger.token), 0
        elif action == "vanish":
            assert ledger.restartable
            ledger.restart()
            server, since = ModelServer.resumed(ledger.token), 0
    for _ in range(2 * len(handed)):
        step()
    last_frame = max((i for i, entry in enumerate(handed) if entry >= 0), default=-1)
    assert server.stepped == handed[: last_frame + 1]
    assert told == [entry for entry in handed if entry >= 0]


@given(frames=st.integers(0, 300), window=st.integers(1, 8), latest=st.booleans())
def test_without_answers_no_more_than_a_bound_is_kept(
    frames: int, window: int, latest: bool
) -> None:
    ledger = ledger_of("latest" if latest else "reject", window)
    for frame_id in range(frames):
        ledger.add_frame(frame(frame_id))
        written(ledger)
    assert ledger.restart() <= window + 64
    assert len(ledger._log) <= 2 * window + 64


def test_latest_drops_the_oldest_that_was_never_sent() -> None:
    ledger = ledger_of("latest", window=2)
    for frame_id in range(4):
        ledger.add_frame(frame(frame_id))
    assert [entry.frame_id for entry in ledger.take_dropped()] == [0, 1]
    assert written(ledger) == [2, 3]


def test_a_drop_is_told_in_its_turn() -> None:
    ledger = ledger_of("latest", window=1)
    ledger.add_frame(frame(0))
    assert written(ledger) == [0]
    ledger.add_frame(frame(1))
    ledger.add_frame(frame(2))
    assert ledger.take_dropped() == [], "frame 0 comes first"
    ledger.answer(0)
    assert [entry.frame_id for entry in ledger.take_dropped()] == [1]


def test_reject_drops_the_new_one() -> None:
    ledger = ledger_of("reject", window=1)
    first, second = frame(0), frame(1)
    ledger.add_frame(first)
    ledger.add_frame(second)
    assert (first.state, second.state) == (State.WAITING, State.DROPPED)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda ledger: ledger.answer(1), id="out of turn"),
        pytest.param(lambda ledger: ledger.answer(7), id="never sent"),
        pytest.param(lambda ledger: ledger.skip(1, 2), id="skip out of turn"),
        pytest.param(lambda ledger: ledger.settle_edit(9, 0, True), id="unknown edit"),
    ],
)
def test_a_server_that_breaks_the_contract_is_caught(wrong: object) -> None:
    assert callable(wrong)
    ledger = ledger_of()
    for frame_id in range(3):
        ledger.add_frame(frame(frame_id))
    written(ledger)
    with pytest.raises(ProtocolError, match="expected"):
        wrong(ledger)


def test_an_edit_of_the_past_is_kept_until_a_snapshot_has_surely_seen_it() -> None:
    ledger = ledger_of(keep=10)
    for frame_id in range(3):
        ledger.add_frame(frame(frame_id))
    written(ledger)
    ledger.add_edit(EditEntry(1, 0, REQUEST))
    assert written(ledger) == [-1]
    ledger.answer(0)
    ledger.settle_edit(1, 0, applied=True)  # frames 1 and 2 may have been stepped before it
    ledger.answer(1)
    ledger.snapshot(1, b"t")
    ledger.restart()
    assert written(ledger) == [2, -1]
