"""Who is who where things of one kind cross, and what a thing that is half hidden is taken for."""

from __future__ import annotations

import pytest
from kinemask_gateway.live.association import Rules, judge_round
from kinemask_gateway.live.objects import BoxXyxy, FoundTrack, KnownObject, ObjectBook, Sighting

STORED = Rules(0.3, left_after_frames=60, false_alarm_frames=60, rejoin=True)
RIGHT, LEFT = (10.0, 0.0, 50.0, 40.0), (150.0, 0.0, 190.0, 40.0)


def moved(box: BoxXyxy, by: float) -> BoxXyxy:
    return (box[0] + by, box[1], box[2] + by, box[3])


def on_its_way(object_id: int, box: BoxXyxy, speed: float, unseen: int = 5) -> KnownObject:
    return KnownObject(
        *(object_id, "dog", "dog", object_id),
        detections=5,
        unseen_frames=unseen,
        found_xyxy=box,
        box_xyxy=box,
        velocity_xy=(speed, 0.0),
    )


def crossing() -> ObjectBook:
    """One goes right and one left; in ten frames they have passed each other."""
    objects = [on_its_way(1, (60, 0, 100, 40), 4.0, 10), on_its_way(2, (100, 0, 140, 40), -4.0, 10)]
    return ObjectBook({known.object_id: known for known in objects}, 3)


def dog(track_id: int, box: BoxXyxy, score: float = 0.9) -> FoundTrack:
    return FoundTrack(track_id, box, score, "dog", "dog")


def test_tracks_that_were_exchanged_at_a_crossing_are_exchanged_back() -> None:
    book = crossing()
    found = [dog(1, (60, 0, 100, 40)), dog(2, (100, 0, 140, 40))]
    verdict = judge_round(book, found, [], [], 8, STORED)
    assert verdict.found == {1: (100, 0, 140, 40), 2: (60, 0, 100, 40)}
    assert (book.objects[1].track_id, book.objects[2].track_id) == (2, 1)
    assert verdict.new_ids == ()


def test_a_live_stream_keeps_to_its_tracks() -> None:
    book = crossing()
    found = [dog(1, (60, 0, 100, 40)), dog(2, (100, 0, 140, 40))]
    assert judge_round(book, found, [], [], 8).found[1] == (60, 0, 100, 40)


def test_one_that_comes_out_first_is_the_one_that_should_be_there() -> None:
    book = crossing()
    verdict = judge_round(book, [dog(1, (60, 0, 100, 40))], [], [], 8, STORED)
    assert set(verdict.found) == {2}
    assert (book.objects[1].track_id, book.objects[2].track_id) == (None, 1)
    assert verdict.missed_ids == {1}


@pytest.mark.parametrize(
    "label", [pytest.param("cat", id="another kind"), pytest.param("dog", id="never sure of it")]
)
def test_objects_that_are_not_alike_are_not_exchanged(label: str) -> None:
    book = crossing()
    book.objects[2].label = label
    book.objects[2].detections = 5 if label == "cat" else 1
    verdict = judge_round(book, [dog(1, (60, 0, 100, 40))], [], [], 8, STORED)
    assert set(verdict.found) == {1}


def test_what_is_half_hidden_is_thought_to_go_on() -> None:
    known = on_its_way(1, (10.0, 0.0, 50.0, 40.0), 4.0)
    known.find((40.0, 0.0, 60.0, 40.0), crowded=True)
    assert known.found_xyxy == (30.0, 0.0, 70.0, 40.0)
    assert known.velocity_xy == (4.0, 0.0)


@pytest.mark.parametrize(
    ("box", "crowded"),
    [
        pytest.param((40.0, 0.0, 60.0, 40.0), False, id="nothing hides it"),
        pytest.param((35.0, 0.0, 75.0, 40.0), True, id="all of it is there"),
        pytest.param((80.0, 0.0, 100.0, 40.0), True, id="somewhere else"),
    ],
)
def test_what_is_in_sight_is_where_it_was_found(box: BoxXyxy, crowded: bool) -> None:
    known = on_its_way(1, (10.0, 0.0, 50.0, 40.0), 4.0)
    known.find(box, crowded)
    assert known.found_xyxy == box


def test_pace_is_not_learnt_from_one_frame() -> None:
    known = on_its_way(1, RIGHT, 4.0, unseen=1)
    known.find(moved(RIGHT, 24.0))
    assert known.velocity_xy[0] == pytest.approx(6.0)
    known = on_its_way(1, RIGHT, 4.0, unseen=6)
    known.find(moved(RIGHT, 36.0))
    assert known.velocity_xy[0] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("mask", "taken"),
    [
        pytest.param((0.0, 0.0, 44.0, 40.0), 9, id="the same place: two words for one thing"),
        pytest.param((0.0, 0.0, 20.0, 40.0), 1, id="half of it: one lies over the other"),
    ],
)
def test_a_track_takes_over_what_other_words_found_only_in_its_place(
    mask: BoxXyxy, taken: int
) -> None:
    book = ObjectBook({1: on_its_way(1, mask, 0.0)}, 2)
    found = FoundTrack(9, (0.0, 0.0, 40.0, 40.0), 0.9, "car", "car")
    judge_round(book, [found], [], [Sighting(1, mask, 0.9)], 8, STORED)
    assert book.objects[1].track_id == taken
