"""From scores to detections, without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kinemask_detector.engines.base import Detection
from kinemask_detector.engines.picking import Question, Scored, pick

LABELS = ("cat", "dog")


def question(**changes: Any) -> Question:
    """All that is there, of a picture 100 wide and 50 high."""
    facts: dict[str, Any] = {
        "height": 50,
        "width": 100,
        "labels": LABELS,
        "prompts": ("a cat", "a dog"),
        "wanted": np.array([True, True]),
        "score_threshold": 0.0,
        "overlap_threshold": 1.0,
        "top_k": 100,
        "several_labels": False,
    }
    return Question(**{**facts, **changes})


def scored(*rows: tuple[tuple[float, float, float, float], tuple[float, float]]) -> Scored:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in rows], np.float32).reshape(-1, len(LABELS))
    return Scored(boxes, scores)


LEFT, RIGHT, NEAR_LEFT = (0.25, 0.5, 0.3, 0.4), (0.75, 0.5, 0.3, 0.4), (0.26, 0.5, 0.3, 0.4)


def brief(found: list[Detection]) -> list[tuple[str, float]]:
    return [(one.label, round(one.score, 3)) for one in found]


def test_box_is_in_pixels_of_the_picture() -> None:
    (found,) = pick(scored((LEFT, (0.9, 0.1))), question())
    assert found.box_xyxy == pytest.approx((10, 15, 40, 35))
    assert (found.label, found.prompt) == ("cat", "a cat")
    (found,) = pick(scored((LEFT, (0.9, 0.1))), question(square=True))
    assert found.box_xyxy == pytest.approx((10, 30, 40, 50))  # of 100x100, cut to the picture


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [("cat", 0.9), ("dog", 0.6)], id="the best label of each place"),
        pytest.param(
            {"several_labels": True}, [("cat", 0.9), ("dog", 0.8)], id="the two best of all pairs"
        ),
        pytest.param({"score_threshold": 0.6}, [("cat", 0.9), ("dog", 0.6)], id="at the threshold"),
        pytest.param({"score_threshold": 0.61}, [("cat", 0.9)], id="under the threshold"),
        pytest.param(
            {"wanted": np.array([False, True])}, [("dog", 0.6)], id="one label, the best of a place"
        ),
        pytest.param(
            {"wanted": np.array([False, True]), "several_labels": True},
            [("dog", 0.8)],
            id="one label among the best pairs",
        ),
        pytest.param({"top_k": 1}, [("cat", 0.9)], id="the best one"),
    ],
)
def test_what_is_told(changes: dict[str, Any], expected: list[tuple[str, float]]) -> None:
    rows = scored((LEFT, (0.9, 0.8)), (RIGHT, (0.1, 0.6)))
    # A threshold is compared in double precision: 0.6 is not quite 0.6 as float32.
    rows.scores[rows.scores == np.float32(0.6)] = np.nextafter(np.float32(0.6), np.float32(1))
    assert brief(pick(rows, question(**changes))) == expected


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        pytest.param(1.0, [("cat", 0.9), ("cat", 0.8), ("dog", 0.7)], id="nothing gives way"),
        pytest.param(0.5, [("cat", 0.9), ("dog", 0.7)], id="of one label the better stays"),
    ],
)
def test_overlap_counts_within_a_label(overlap: float, expected: list[tuple[str, float]]) -> None:
    rows = scored((LEFT, (0.9, 0)), (NEAR_LEFT, (0.8, 0)), (LEFT, (0, 0.7)))
    assert brief(pick(rows, question(overlap_threshold=overlap))) == expected


@pytest.mark.parametrize(
    ("box", "score"),
    [
        pytest.param((0.5, 1.5, 0.2, 0.2), 0.9, id="outside the picture"),
        pytest.param((0.5, 0.5, 0.0, 0.2), 0.9, id="without a width"),
        pytest.param((np.nan, 0.5, 0.2, 0.2), 0.9, id="nowhere"),
        pytest.param((0.5, 0.5, 0.2, 0.2), np.nan, id="with a score that is no number"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_what_is_no_box_is_not_told(
    box: tuple[float, float, float, float], score: float, several: bool
) -> None:
    rows = scored((LEFT, (0.9, 0.0)), (box, (score, score)))
    found = pick(rows, question(several_labels=several, score_threshold=0.1))
    assert [one.score for one in found] == [pytest.approx(0.9)]


@pytest.mark.parametrize("several", [False, True])
def test_nothing_at_all(several: bool) -> None:
    nothing = Scored(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32))
    assert pick(nothing, question(several_labels=several)) == []
