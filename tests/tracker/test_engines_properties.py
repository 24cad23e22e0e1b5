"""What must hold whatever a tracker is fed, and that a snapshot goes on bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemask_chassis.snapshots import SnapshotError
from kinemask_tracker.engines import (
    Detections,
    FrameTracks,
    Observation,
    TrackerConfig,
    TrackState,
    algorithm_names,
    create_tracker,
)
from kinemask_tracker.engines.boxes import enlarged_iou_matrix, height_ratio, iou_matrix
from kinemask_tracker.engines.motion import (
    AreaModel,
    HeightModel,
    MotionModel,
    SteadySizeModel,
    correct,
    predict,
    start,
)
from numpy.typing import NDArray

ALL = pytest.mark.parametrize("name", algorithm_names())
MODELS = pytest.mark.parametrize(
    "model", [AreaModel(), HeightModel(), SteadySizeModel()], ids=["area", "height", "size"]
)

coordinates = st.floats(-500, 2000, width=32)
sides = st.floats(0, 500, width=32)
detection = st.tuples(
    coordinates, coordinates, sides, sides, st.floats(0, 1, width=32), st.sampled_from("ab")
)
feed = st.lists(
    st.tuples(st.integers(1, 40), st.none() | st.lists(detection, max_size=6, unique=True)),
    min_size=1,
    max_size=12,
)
Row = tuple[float, float, float, float, float, str]
Feed = list[tuple[int, list[Row] | None]]


def packed(rows: list[Row] | None) -> Detections | None:
    if rows is None:
        return None
    corner = np.array([row[:2] for row in rows], np.float32).reshape(-1, 2)
    size = np.array([row[2:4] for row in rows], np.float32).reshape(-1, 2)
    boxes = np.concatenate([corner, corner + size], axis=1)
    scores = np.array([row[4] for row in rows], np.float32)
    return Detections(boxes, scores, tuple(row[5] for row in rows))


def crowd(frame: int, people: int = 8) -> Detections:
    """People who walk to and fro and hide now and then."""
    rng = np.random.default_rng(frame)
    place = 300 + 250 * np.sin(frame / 20 + np.arange(people))
    boxes = np.stack([place, place * 0.3, place + 50, place * 0.3 + 120], axis=1)
    boxes += rng.normal(0, 2, boxes.shape)
    shown = rng.random(people) < 0.85
    scores = rng.uniform(0.2, 1.0, people)[shown].astype(np.float32)
    return Detections(boxes[shown].astype(np.float32), scores, ("person",) * int(shown.sum()))


def assert_same(first: FrameTracks, second: FrameTracks) -> None:
    for column in ("ids", "boxes_xyxy", "scores", "states", "detection_index", "age_frames"):
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))
    assert (first.labels, first.ended) == (second.labels, second.ended)


@ALL
@settings(max_examples=40, deadline=None)
@given(feed)
def test_ids_ascend_are_never_reused_and_boxes_stay_finite(name: str, frames: Feed) -> None:
    tracker, frame_id, gone = create_tracker(name), 0, set[int]()
    highest = 0
    for step, rows in frames:
        frame_id += step
        tracks = tracker.update(frame_id, packed(rows))
        ids = tracks.ids.tolist()
        assert ids == sorted(set(ids))
        assert not gone & set(ids)
        fresh = [i for i in ids if i > highest]
        assert fresh == [] or min(fresh) > highest
        gone |= set(tracks.ended)
        highest = max([highest, *ids, *tracks.ended])
        assert np.isfinite(tracks.boxes_xyxy).all()
        assert (tracks.boxes_xyxy[:, :2] <= tracks.boxes_xyxy[:, 2:]).all()


@ALL
@settings(max_examples=40, deadline=None)
@given(feed, st.integers(0, 2**32))
def test_the_order_of_detections_does_not_matter(name: str, frames: Feed, seed: int) -> None:
    shuffle = np.random.default_rng(seed)
    straight, mixed, frame_id = create_tracker(name), create_tracker(name), 0
    for step, rows in frames:
        frame_id += step
        listed = straight.update(frame_id, packed(rows))
        jumbled = None
        if rows is not None:
            jumbled = [rows[i] for i in shuffle.permutation(len(rows)).tolist()]
        other = mixed.update(frame_id, packed(jumbled))
        np.testing.assert_array_equal(listed.ids, other.ids)
        np.testing.assert_array_equal(listed.boxes_xyxy, other.boxes_xyxy)
        assert listed.labels == other.labels


@ALL
@settings(max_examples=40, deadline=None)
@given(feed)
def test_a_detection_belongs_to_one_track_of_its_label(name: str, frames: Feed) -> None:
    tracker, frame_id = create_tracker(name), 0
    for step, rows in frames:
        frame_id += step
        tracks = tracker.update(frame_id, packed(rows))
        used = [(t.detection_index, t.label) for t in tracks if t.detection_index >= 0]
        assert len({index for index, _ in used}) == len(used)
        for index, label in used:
            assert rows is not None
            assert rows[index][5] == label


@ALL
@settings(max_examples=40, deadline=None)
@given(feed, st.tuples(coordinates, coordinates, sides, sides))
def test_observations_win(name: str, frames: Feed, place: tuple[float, ...]) -> None:
    tracker, frame_id = create_tracker(name), 0
    x, y, width, height = place
    observation_box = (x, y, x + width, y + height)
    for step, rows in frames:
        frame_id += step
        alive = tracker.update(frame_id, packed(rows)).ids.tolist()
        if alive:
            frame_id += 1
            observed = [Observation(alive[0], observation_box)]
            tracks = tracker.update(frame_id, packed(rows), observed)
            row = tracks.ids.tolist().index(alive[0])
            assert tracks.boxes_xyxy[row] == pytest.approx(observation_box, rel=1e-6)
            assert tracks.states[row] == TrackState.CONFIRMED


@ALL
@pytest.mark.parametrize("at", [0, 1, 37], ids=["before any frame", "after one", "in the middle"])
def test_a_restored_tracker_goes_on_bit_by_bit(name: str, at: int) -> None:
    original, restored = create_tracker(name), create_tracker(name)
    for frame in range(at):
        original.update(frame, crowd(frame))
    restored.restore(original.snapshot())
    for frame in range(at, at + 40):
        given = None if frame % 4 == 1 else crowd(frame)
        assert_same(original.update(frame, given), restored.update(frame, given))
    assert original.snapshot() == restored.snapshot()


def test_a_damaged_snapshot_leaves_the_tracker_as_it_was() -> None:
    tracker = create_tracker("auto")
    for frame in range(5):
        tracker.update(frame, crowd(frame))
    before = tracker.snapshot()
    damaged = before[:-1] + bytes([before[-1] ^ 1])
    for bad in (
        damaged,
        before[:20],
        b"",
        b"something else altogether" * 4,
    ):
        with pytest.raises(SnapshotError):
            tracker.restore(bad)
    assert tracker.snapshot() == before


@pytest.mark.parametrize(
    ("name", "config"),
    [
        pytest.param("sort", TrackerConfig(), id="another algorithm"),
        pytest.param("kinetrack", TrackerConfig(min_iou=0.4), id="other settings"),
        pytest.param("kinetrack", TrackerConfig(high_score=0.6), id="a default given by hand"),
    ],
)
def test_a_snapshot_is_for_its_own_kind(name: str, config: TrackerConfig) -> None:
    snapshot = create_tracker("kinetrack").snapshot()
    with pytest.raises(SnapshotError, match="expected a snapshot of"):
        create_tracker(name, config).restore(snapshot)


boxes_arrays = st.lists(st.tuples(coordinates, coordinates, sides, sides), min_size=1, max_size=5)


def corners(rows: list[tuple[float, ...]]) -> NDArray[np.float64]:
    array = np.array(rows, np.float64)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


@MODELS
@given(boxes_arrays, st.integers(1, 20))
def test_one_long_step_is_many_short_ones(
    model: MotionModel, rows: list[tuple[float, ...]], frames: int
) -> None:
    bank = start(model, corners(rows))
    short = bank
    for _ in range(frames):
        short = predict(model, short, 1)
    np.testing.assert_allclose(predict(model, bank, frames), short, rtol=1e-9, atol=1e-9)


@MODELS
@given(boxes_arrays, st.lists(boxes_arrays, min_size=1, max_size=10))
def test_filters_stay_finite_and_certain(
    model: MotionModel,
    rows: list[tuple[float, ...]],
    sights: list[list[tuple[float, ...]]],
) -> None:
    bank = start(model, corners(rows)[:1])
    for sight in sights:
        bank = correct(model, predict(model, bank, 3), corners(sight)[:1])
        assert np.isfinite(bank).all()
        assert (bank[:, 2] >= 0).all()
        assert (bank[:, 4] >= 0).all()
        boxes = model.decode(bank[:, 0])
        assert (boxes[:, :2] < boxes[:, 2:]).all()


@MODELS
@given(boxes_arrays)
def test_boxes_survive_encoding(model: MotionModel, rows: list[tuple[float, ...]]) -> None:
    boxes = corners(rows)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    np.testing.assert_allclose(model.decode(model.encode(boxes)), boxes, rtol=1e-6, atol=1e-6)


@given(boxes_arrays, boxes_arrays)
def test_overlaps_are_shares(
    first: list[tuple[float, ...]], second: list[tuple[float, ...]]
) -> None:
    a, b = corners(first), corners(second)
    none = np.zeros((len(a), 2))
    np.testing.assert_allclose(enlarged_iou_matrix(a, b, none), iou_matrix(a, b), atol=1e-9)
    for matrix in (iou_matrix(a, b), enlarged_iou_matrix(a, b, none + 30), height_ratio(a, b)):
        assert matrix.shape == (len(a), len(b))
        assert (matrix >= 0).all()
        assert (matrix <= 1 + 1e-9).all()
