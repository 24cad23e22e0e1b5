"""Chunks: where a video is cut, and who takes which."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemask_gateway.rendering.plan import Shares, Span, plan_chunks


@given(
    first=st.integers(0, 500),
    count=st.integers(1, 3000),
    every=st.integers(1, 400),
)
def test_chunks_cover_a_range_once(first: int, count: int, every: int) -> None:
    keys = np.arange(0, 4000, every)
    chunks = plan_chunks(first, first + count - 1, keys)
    assert [n for c in chunks for n in range(c.first, c.last + 1)] == list(
        range(first, first + count)
    )
    assert max(chunk.frame_count for chunk in chunks) <= 375
    if len(chunks) > 1:
        assert min(chunk.frame_count for chunk in chunks) >= 25


@pytest.mark.parametrize(
    ("count", "keys", "cuts"),
    [
        pytest.param(99, [0, 50], [0], id="very short"),
        pytest.param(375, [0, 100, 200], [0, 200], id="short: one for each of two cores"),
        pytest.param(900, [0], [0, 225, 450, 675], id="no key frames to cut at"),
        pytest.param(900, [*range(0, 900, 60)], [0, 240, 420, 660], id="key frames"),
        pytest.param(900, [0, 250, 880], [0, 250, 450, 675], id="some"),
        pytest.param(600, [0], [0, 150, 300, 450], id="an even number"),
        pytest.param(2200, [0], [n * 2200 // 9 for n in range(9)], id="many"),
    ],
)
def test_cuts_are_at_key_frames_that_are_near(count: int, keys: list[int], cuts: list[int]) -> None:
    chunks = plan_chunks(0, count - 1, np.array(keys))
    assert [chunk.first for chunk in chunks] == cuts


@given(
    count=st.integers(1, 60),
    done=st.sets(st.integers(0, 59)),
    lanes=st.integers(1, 5),
    turns=st.lists(st.integers(0, 4), max_size=200),
)
def test_every_chunk_is_taken_once(
    count: int, done: set[int], lanes: int, turns: list[int]
) -> None:
    chunks = [Span(n * 10, n * 10 + 9) for n in range(count)]
    shares = Shares(chunks, {number for number in done if number < count}, np.arange(0, 600, 35))
    last: dict[int, int | None] = dict.fromkeys(range(lanes))
    taken: list[int] = []
    for lane in itertools.chain((t % lanes for t in turns), itertools.cycle(range(lanes))):
        number = shares.take(last[lane])
        if number is None:
            break
        taken.append(number)
        last[lane] = number
    assert sorted(taken) == sorted(set(range(count)) - done)


def test_a_second_lane_begins_near_a_key_frame() -> None:
    chunks = [Span(n * 60, n * 60 + 59) for n in range(10)]
    shares = Shares(chunks, (), np.array([0, 300]))
    assert (shares.take(None), shares.take(None)) == (0, 5)
    shares = Shares(chunks, (), np.array([0]))
    assert (shares.take(None), shares.take(None)) == (0, 6)  # it has 360 frames to decode first


def test_lanes_go_through_neighbours() -> None:
    shares = Shares([Span(n, n) for n in range(12)], (), np.arange(12))
    one, two = [shares.take(None)], [shares.take(None)]
    while True:
        for lane in (one, two):
            lane.append(shares.take(lane[-1]))
        if None in (one[-1], two[-1]):
            break
    seeks = [b - a for lane in (one, two) for a, b in itertools.pairwise(lane[:-1]) if a != b - 1]  # type: ignore[operator]  # only the last is None
    assert (one[0], two[0]) == (0, 6)
    assert len(seeks) <= 1
