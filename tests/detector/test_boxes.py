"""Overlap, suppression and clustering of boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemask_detector.engines.boxes import clip, clusters, overlaps, suppress

edges = st.integers(0, 100)
some_boxes = st.lists(st.tuples(edges, edges, st.integers(1, 50), st.integers(1, 50)), max_size=20)


def xyxy(
    found: list[tuple[int, int, int, int]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    boxes = np.array(found, np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


@pytest.mark.parametrize(
    ("other", "iou", "inside"),
    [
        pytest.param((0, 0, 10, 10), 1.0, 1.0, id="the same"),
        pytest.param((5, 0, 15, 10), 1 / 3, 0.5, id="half"),
        pytest.param((2, 2, 4, 4), 0.04, 1.0, id="within"),
        pytest.param((10, 0, 20, 10), 0.0, 0.0, id="side by side"),
    ],
)
def test_overlaps(other: tuple[float, ...], iou: float, inside: float) -> None:
    found = overlaps(np.array([0.0, 0, 10, 10]), np.array([other], np.float64))
    assert found[0][0] == pytest.approx(iou)
    assert found[1][0] == pytest.approx(inside)


@settings(deadline=None)
@given(some_boxes, st.floats(0, 1))
def test_what_stays_does_not_overlap_and_what_goes_overlaps_a_better_one(
    found: list[tuple[int, int, int, int]], max_iou: float
) -> None:
    boxes, scores = xyxy(found), np.linspace(1, 0, len(found))
    kept = suppress(boxes, scores, max_iou)
    assert sorted(kept) == list(kept)
    for index, box in enumerate(boxes):
        better = boxes[[other for other in kept if other < index]]
        assert (index in kept) == bool((overlaps(box, better)[0] <= max_iou).all())


def test_box_inside_a_better_one_goes() -> None:
    boxes = np.array([[0.0, 0, 100, 100], [10, 10, 20, 20]])
    assert list(suppress(boxes, np.array([0.9, 0.8]), 0.5)) == [0, 1]
    assert list(suppress(boxes, np.array([0.9, 0.8]), 0.5, max_inside=0.6)) == [0]


@settings(deadline=None)
@given(some_boxes, st.floats(0, 0.99))
def test_every_box_is_in_one_cluster(
    found: list[tuple[int, int, int, int]], min_iou: float
) -> None:
    groups = clusters(xyxy(found), min_iou)
    assert sorted(index for group in groups for index in group) == list(range(len(found)))
    assert [len(group) for group in groups] == sorted(map(len, groups), reverse=True)


def test_clip_cuts_to_the_picture() -> None:
    cut = clip(np.array([[-5.0, -5, 700, 20]]), height=360, width=640)
    assert cut.tolist() == [[0, 0, 640, 20]]
