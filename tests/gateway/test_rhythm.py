"""When a stream is detected on."""

from __future__ import annotations

import pytest
from kinemask.v1 import live_pb2
from kinemask_gateway.live.rhythm import LAG, Note, Rhythm


def adaptive(every: int = 4, **numbers: int) -> Rhythm:
    wanted = live_pb2.AdaptiveDetection(**numbers)  # type: ignore[arg-type]  # all are integers
    return Rhythm.of(live_pb2.DetectStage(every_n_frames=every, adaptive=wanted))


def due_frames(rhythm: Rhythm, last: int, first: int = 0) -> list[int]:
    """Every round is calm."""
    found = []
    for frame_id in range(first, last + 1):
        if rhythm.due(frame_id):
            found.append(frame_id)
            rhythm.note(frame_id, Note.CALM_ROUND)
    return found


def test_every_nth_frame_whatever_happens() -> None:
    fixed = Rhythm.of(live_pb2.DetectStage(every_n_frames=3))
    fixed.note(1, Note.LOST)
    assert due_frames(fixed, 12) == [0, 3, 6, 9, 12]
    told = live_pb2.DetectStage(adaptive=live_pb2.AdaptiveDetection(disabled=True))
    assert due_frames(Rhythm.of(told), 10) == [0, 5, 10]


def test_later_when_nothing_happens_up_to_the_most() -> None:
    assert due_frames(adaptive(4, max_every_n_frames=8), 40) == [0, 4, 12, 20, 28, 36]


def test_sooner_after_something_new() -> None:
    rhythm = adaptive(4, max_every_n_frames=16)
    assert due_frames(rhythm, 30) == [0, 4, 12, 20]
    rhythm.note(30, Note.EVENTFUL_ROUND)
    assert due_frames(rhythm, 42, first=31) == [34, 38]


def test_no_later_where_things_lie_over_each_other() -> None:
    rhythm = adaptive(4, max_every_n_frames=16)
    due_frames(rhythm, 19)
    for frame_id in range(19, 40):
        rhythm.note(frame_id, Note.CROWDED)
    assert due_frames(rhythm, 40, first=20) == [20, 24, 28, 32, 36, 40]


@pytest.mark.parametrize(
    ("least", "due"),
    [
        pytest.param(1, 3 + LAG, id="as soon as the loss counts"),
        pytest.param(10, 10, id="but not sooner than the least"),
    ],
)
def test_soon_after_a_loss(least: int, due: int) -> None:
    rhythm = adaptive(20, min_every_n_frames=least)
    assert rhythm.due(0)
    rhythm.note(3, Note.LOST)
    assert [f for f in range(1, 12) if rhythm.due(f)] == [due]


def test_what_is_known_early_counts_no_earlier() -> None:
    early, late = adaptive(20), adaptive(20)
    assert early.due(0)
    assert late.due(0)
    early.note(5, Note.LOST)
    found = []
    for frame_id in range(1, 20):
        if frame_id == 5 + LAG:
            late.note(5, Note.LOST)
        found.append((early.due(frame_id), late.due(frame_id)))
    assert [a for a, _ in found] == [b for _, b in found]


def test_a_cut_is_detected_on_at_once() -> None:
    rhythm = adaptive(4)
    assert rhythm.due(0)
    assert not rhythm.due(1)
    assert rhythm.due(2, at_once=True)
    assert [f for f in range(3, 8) if rhythm.due(f)] == [6]


def test_it_goes_on_from_its_facts() -> None:
    rhythm = adaptive(4)
    due_frames(rhythm, 9)
    rhythm.note(9, Note.LOST)
    again = Rhythm.from_facts(rhythm.to_facts())
    assert due_frames(again, 40, first=10) == due_frames(rhythm, 40, first=10)


def test_the_next_frame_is_foretold_where_nothing_happens() -> None:
    rhythm = adaptive(every=3, max_every_n_frames=6)
    told: list[int] = []
    due: list[int] = []
    for frame_id in range(30):
        told.append(frame_id + rhythm.frames_to_next - 1)
        if rhythm.due(frame_id):
            due.append(frame_id)
    assert [frame for frame in dict.fromkeys(told) if frame < 30] == due


def test_what_was_lost_is_looked_for_before_it_was_foretold() -> None:
    rhythm = adaptive(every=8, min_every_n_frames=2)
    assert rhythm.due(0)
    rhythm.note(1, Note.LOST)
    assert rhythm.frames_to_next == 8
    due = [frame_id for frame_id in range(1, 9) if rhythm.due(frame_id)]
    assert due[0] == 1 + LAG
