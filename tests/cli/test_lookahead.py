"""Names that are found late, and count for the frames before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kinemask import LiveFrame, LiveObject, ObjectName
from kinemask.cli.track.lookahead import MAX_FRAMES, Lookahead, frames_ahead
from kinemask.types import Box
from kinemask.video import VideoFrame

ALICE = ObjectName("p1", "Alice", 0.97, True)
MAYBE = ObjectName("", "", 0.97, False)
AGAINST = ObjectName("", "", -1.0, False)
NOBODY = ObjectName("", "", 0.0, True)


def frame(number: int) -> VideoFrame:
    return VideoFrame(number, number, 1, 0.0, np.zeros((2, 2, 3), np.uint8))


def answer(number: int, name: ObjectName | None) -> LiveFrame:
    return LiveFrame(number, objects=(LiveObject(7, 1.0, Box(0, 0, 1, 1), 1, name=name),))


def told(ahead: int, names: list[ObjectName | None]) -> list[ObjectName | None]:
    """What each frame says once it comes out."""
    lookahead, out = Lookahead(ahead), list[tuple[VideoFrame, LiveFrame]]()
    for number, name in enumerate(names):
        out += lookahead.add(frame(number), answer(number, name))
    out += lookahead.rest()
    assert [one.index for one, _ in out] == list(range(len(names)))
    return [said.objects[0].name for _, said in out]


@pytest.mark.parametrize(
    ("ahead", "names", "expected"),
    [
        pytest.param(5, [MAYBE, MAYBE, ALICE], [ALICE] * 3, id="a name counts from the start"),
        pytest.param(1, [MAYBE, MAYBE, ALICE], [MAYBE, ALICE, ALICE], id="only so far back"),
        pytest.param(0, [MAYBE, ALICE], [MAYBE, ALICE], id="nothing is held back"),
        pytest.param(5, [AGAINST, ALICE], [AGAINST, ALICE], id="a frame that speaks against it"),
        pytest.param(5, [AGAINST, NOBODY], [NOBODY] * 2, id="one that agrees with being nobody"),
        pytest.param(5, [NOBODY, ALICE], [NOBODY, ALICE], id="a frame that decided otherwise"),
        pytest.param(5, [MAYBE, NOBODY, ALICE], [NOBODY, NOBODY, ALICE], id="the first that says"),
        pytest.param(5, [None, ALICE], [None, ALICE], id="a frame that was not named at all"),
        pytest.param(5, [MAYBE, MAYBE], [MAYBE, MAYBE], id="never decided"),
    ],
)
def test_names_count_backwards(
    ahead: int, names: list[ObjectName | None], expected: list[ObjectName | None]
) -> None:
    assert told(ahead, names) == expected


def test_another_object_s_name_is_not_taken() -> None:
    lookahead = Lookahead(3)
    list(lookahead.add(frame(0), answer(0, MAYBE)))
    other = answer(1, ALICE)
    other = replace(other, objects=(replace(other.objects[0], object_id=8),))
    list(lookahead.add(frame(1), other))
    (_, first), _ = lookahead.rest()
    assert first.objects[0].name == MAYBE


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(640, 360, MAX_FRAMES), (3840, 2160, 10), (20_000, 20_000, 1)],
)
def test_memory_bounds_how_far_it_looks(width: int, height: int, count: int) -> None:
    assert frames_ahead(width, height) == count
