"""Faces followed over frames, and faces given to the client's regions."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.following import MAX_MISSED_FRAMES, FaceFollower
from kinemask_faces.regions import Region, faces_of_regions


def at(x: float, y: float = 0.0, side: float = 40.0) -> tuple[float, float, float, float]:
    return (x, y, x + side, y + side)


def face(x: float, y: float, side: float = 20.0) -> DetectedFace:
    return DetectedFace(at(x, y, side), 0.9, np.zeros((5, 2), np.float32))


def test_faces_that_move_keep_their_ids() -> None:
    follower = FaceFollower()
    for step in range(10):
        assert follower.update([at(8.0 * step), at(300 - 8.0 * step, 100)]) == [1, 2]


def test_a_face_that_comes_back_soon_is_expected_where_it_went() -> None:
    follower = FaceFollower()
    for step in range(4):
        follower.update([at(20.0 * step)])
    for _ in range(4):
        follower.update([])
    assert follower.update([at(160.0)]) == [1]


def test_a_face_that_was_away_too_long_is_another() -> None:
    follower = FaceFollower()
    follower.update([at(0)])
    for _ in range(MAX_MISSED_FRAMES + 1):
        follower.update([])
    assert follower.tracks == [] and follower.update([at(0)]) == [2]


def test_of_two_that_claim_a_face_the_better_fit_gets_it() -> None:
    follower = FaceFollower()
    follower.update([at(0), at(30)])
    assert follower.update([at(28)]) == [2]


def test_a_follower_comes_back_from_its_facts() -> None:
    follower = FaceFollower()
    follower.update([at(0), at(200)])
    follower.update([at(10)])
    again = FaceFollower.from_facts(follower.to_facts())
    assert again.tracks == follower.tracks and again.next_track_id == 3
    with pytest.raises(TypeError):
        FaceFollower.from_facts([1, 2])


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        pytest.param([Region(1, at(98, 98, 24))], {1: 0}, id="a face's own box"),
        pytest.param([Region(1, at(90, 90, 40))], {1: 0}, id="a mask with hair and neck"),
        pytest.param([Region(1, at(0, 0, 400))], {}, id="a region far larger than any face"),
        pytest.param([Region(1, at(60, 90, 100), True)], {1: 0}, id="the head of a person"),
        pytest.param([Region(1, (60, 20, 160, 130), True)], {}, id="a face at somebody's feet"),
        pytest.param(
            [Region(1, at(60, 90, 100), True), Region(2, at(98, 98, 24))],
            {1: 0, 2: 0},
            id="a person and their face",
        ),
        pytest.param(
            [Region(1, at(94, 98, 24)), Region(2, at(98, 98, 24))],
            {2: 0},
            id="of two faces the one whose fit is better",
        ),
    ],
)
def test_faces_of_regions(regions: list[Region], expected: dict[int, int]) -> None:
    faces = [face(100, 100)]
    found = faces_of_regions(faces, regions)
    assert {key: faces.index(one) for key, one in found.items()} == expected
