"""Frames on which a mask may have been somewhere else than what it is of."""

from __future__ import annotations

import pytest
from kinemask_gateway.following.sightings import Sightings


@pytest.mark.parametrize(
    ("doubtful", "drifted", "spans"),
    [
        pytest.param((), (), [], id="the mask agrees"),
        pytest.param((1,), (), [[1, 9], [11, 19]], id="it disagrees: before and after"),
        pytest.param((), (1,), [[1, 9]], id="it was put right: before"),
    ],
)
def test_masks_between_two_rounds_that_find_a_thing(
    doubtful: tuple[int, ...], drifted: tuple[int, ...], spans: list[list[int]]
) -> None:
    sightings = Sightings()
    sightings.add_round(0, [1], [])
    sightings.add_round(10, [1], [], doubtful, drifted)
    sightings.add_round(20, [1], [])
    assert sightings.missed.get(1, []) == spans


def test_a_round_that_misses_a_thing_and_the_next_that_finds_it() -> None:
    sightings = Sightings()
    sightings.add_round(0, [1], [])
    sightings.add_round(5, [], [1])
    sightings.add_round(10, [1], [], (), (1,))
    assert sightings.missed == {1: [[1, 9]]}
    assert Sightings.from_json(sightings.to_json()) == sightings


def test_frames_that_no_round_confirms_before_a_shot_ends() -> None:
    sightings = Sightings()
    sightings.add_round(10, [1, 2, 3], [])
    sightings.add_round(15, [1, 3], [2])
    sightings.add_round(18, [1], [3])
    sightings.end_shot(0, 19)
    assert sightings.missed == {1: [[19, 19]], 2: [[11, 15]], 3: [[16, 18]]}


def test_a_shot_ends_only_what_was_found_in_it() -> None:
    sightings = Sightings()
    sightings.add_round(19, [1], [])  # the last frame of its shot
    sightings.end_shot(0, 19)
    sightings.add_round(25, [2], [])
    sightings.end_shot(20, 29)
    assert sightings.missed == {2: [[26, 29]]}
