"""What a detection round makes of objects: new ones, drifted ones, false alarms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask_gateway.live.association import (
    FALSE_ALARM_ROUNDS,
    LIVE_RULES,
    TOO_LARGE_ROUNDS,
    judge_round,
)
from kinemask_gateway.live.objects import BoxXyxy, FoundTrack, ObjectBook, Sighting, area, iou

A: BoxXyxy = (0.0, 0.0, 10.0, 10.0)
RUN_OVER: BoxXyxy = (0.0, 0.0, 40.0, 30.0)
FAR: BoxXyxy = (100.0, 100.0, 110.0, 110.0)


def found(track_id: int, box: BoxXyxy = A, score: float = 0.9) -> FoundTrack:
    return FoundTrack(track_id, box, score, "face", "face")


def test_a_new_track_becomes_an_object() -> None:
    book = ObjectBook()
    verdict = judge_round(book, [found(5)], [], [], 8)
    assert verdict.prompts == ((1, A),)
    assert verdict.new_ids == (1,)
    assert book.objects[1].track_id == 5


@pytest.mark.parametrize(
    ("mask_box", "prompted"),
    [
        pytest.param(A, False, id="in place"),
        pytest.param((1.0, 0.0, 11.0, 10.0), False, id="a little off"),
        pytest.param((7.0, 7.0, 17.0, 17.0), True, id="drifted"),
        pytest.param(None, True, id="mask gone"),
    ],
)
def test_a_known_object_is_prompted_again_only_if_it_drifted(
    mask_box: BoxXyxy | None, prompted: bool
) -> None:
    book = ObjectBook()
    judge_round(book, [found(5)], [], [], 8)
    verdict = judge_round(book, [found(5)], [], [Sighting(1, mask_box, 0.8)], 8)
    assert verdict.prompts == (((1, A),) if prompted else ())
    assert verdict.new_ids == ()


def test_a_new_track_over_an_object_in_sight_takes_it_over() -> None:
    book = ObjectBook()
    known = book.add_prompted(4, "mine")
    verdict = judge_round(book, [found(9)], [], [Sighting(4, A, 1.0)], 8)
    assert verdict.new_ids == ()
    assert known.track_id == 9


def test_a_new_track_inside_a_mask_that_ran_over_brings_the_object_back() -> None:
    book = ObjectBook()
    judge_round(book, [found(5)], [], [], 8)
    for _ in range(TOO_LARGE_ROUNDS):
        verdict = judge_round(book, [found(6)], [], [Sighting(1, RUN_OVER, 0.8)], 8)
        assert verdict.new_ids == ()
    assert verdict.prompts == ((1, A),)
    assert book.objects[1].track_id == 6


@pytest.mark.parametrize(
    "mask_box",
    [
        pytest.param(RUN_OVER, id="inside the mask"),
        pytest.param((0.0, -15.0, 10.0, 7.0), id="mostly inside, a part of a body"),
    ],
)
def test_one_poor_box_does_not_make_a_mask_smaller(mask_box: BoxXyxy) -> None:
    book = ObjectBook()
    judge_round(book, [found(5)], [], [], 8)
    for seen in [mask_box, mask_box, A] * 3:
        verdict = judge_round(book, [found(5)], [], [Sighting(1, seen, 0.8)], 8)
        assert verdict.prompts == ()


def test_a_detection_of_another_kind_inside_a_mask_is_an_object_of_its_own() -> None:
    book = ObjectBook()
    judge_round(book, [FoundTrack(5, (0.0, 0.0, 40.0, 80.0), 0.9, "person", "person")], [], [], 8)
    verdict = judge_round(book, [found(6)], [], [Sighting(1, (0.0, 0.0, 40.0, 80.0), 0.8)], 8)
    assert verdict.new_ids == (2,)


def test_two_tracks_do_not_take_over_one_object() -> None:
    book = ObjectBook()
    book.add_prompted(4, "mine")
    tracks = [found(9, score=0.9), found(10, (1.0, 0.0, 11.0, 10.0), 0.8)]
    verdict = judge_round(book, tracks, [], [Sighting(4, A, 1.0)], 8)
    assert verdict.new_ids == (5,)
    assert book.objects[4].track_id == 9


def test_the_cap_keeps_the_best() -> None:
    book = ObjectBook()
    boxes = [(20.0 * n, 0.0, 20.0 * n + 10, 10.0) for n in range(4)]
    tracks = [found(n, box, 0.1 * (n + 1)) for n, box in enumerate(boxes)]
    verdict = judge_round(book, tracks, [], [], 2)
    assert verdict.left_out == 2
    assert {o.track_id for o in book.objects.values()} == {2, 3}


def test_a_false_alarm_is_let_go_and_a_sure_object_is_not() -> None:
    book = ObjectBook()
    judge_round(book, [found(1), found(2, FAR)], [], [], 8)
    sightings = [Sighting(1, A, 1.0), Sighting(2, FAR, 1.0)]
    for _ in range(2):
        judge_round(book, [found(1)], [], sightings, 8)
    drops = [
        judge_round(book, [], [], sightings, 8).drop_ids for _ in range(FALSE_ALARM_ROUNDS + 2)
    ]
    assert [d for d in drops if d] == [(2,)]
    assert set(book.objects) == {1}


def test_an_object_that_left_is_let_go_and_one_prompted_by_hand_is_not() -> None:
    book = ObjectBook()
    judge_round(book, [found(1)], [], [], 8)
    book.add_prompted(7, "mine")
    for frame_id in range(LIVE_RULES.left_after_frames):
        book.observe(frame_id, [Sighting(1, None, 0.0), Sighting(7, None, 0.0)])
    assert judge_round(book, [], [], [], 8).drop_ids == (1,)
    assert set(book.objects) == {7}


def test_an_ended_track_leaves_its_object() -> None:
    book = ObjectBook()
    judge_round(book, [found(1)], [], [], 8)
    judge_round(book, [], [1], [Sighting(1, A, 1.0)], 8)
    assert book.objects[1].track_id is None


def test_the_book_survives_a_move() -> None:
    book = ObjectBook()
    judge_round(book, [found(1), found(2, FAR)], [], [], 8)
    book.observe(0, [Sighting(1, A, 0.5)])
    again = ObjectBook.from_facts(book.to_facts())
    assert again.objects == book.objects
    assert again.next_object_id == book.next_object_id


def test_ids_are_never_given_twice() -> None:
    book = ObjectBook()
    book.add_prompted(3, "")
    book.drop(3)
    assert book.add_prompted(0, "").object_id == 4


edges = st.floats(-50, 50, allow_nan=False, width=32)
boxes = st.tuples(edges, edges, edges, edges).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_in_range(a: BoxXyxy, b: BoxXyxy) -> None:
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert 0.0 <= iou(a, b) <= 1.0 + 1e-9
    if area(a) > 1e-3:
        assert iou(a, a) == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.integers(1, 12), boxes, st.floats(0, 1)), max_size=12), st.integers(1, 4)
)
def test_a_round_never_exceeds_the_cap_nor_shares_a_track(
    rows: list[tuple[int, BoxXyxy, float]], cap: int
) -> None:
    book = ObjectBook()
    for _ in range(3):
        unique = {t: FoundTrack(t, box, score, "x", "x") for t, box, score in rows}
        judge_round(book, list(unique.values()), [], [], cap)
        tracks = [o.track_id for o in book.objects.values() if o.track_id is not None]
        assert len(book.objects) <= cap
        assert len(tracks) == len(set(tracks))
