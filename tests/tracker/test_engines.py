"""What every tracker does with the life of a track, and what sets each apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kinemask_tracker.engines import (
    Detections,
    FrameTracks,
    Observation,
    Tracker,
    TrackerConfig,
    TrackState,
    algorithm_names,
    create_tracker,
)

from benchmarks.mot_data import find_sequences
from benchmarks.tracker_mot import score

CAMPUS = Path(__file__).parents[3] / "shared" / "data" / "mot" / "TUD-Campus"
ALL = pytest.mark.parametrize("name", algorithm_names())

Box = tuple[float, float, float, float]


def seen(*boxes: Box, score: float = 0.9, labels: tuple[str, ...] = ()) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), score, np.float32),
        labels or ("person",) * len(boxes),
    )


def box_at(x: float, y: float = 100.0, width: float = 40.0, height: float = 100.0) -> Box:
    return (x, y, x + width, y + height)


def walk(tracker: Tracker, frames: int, start: int = 0, speed: float = 3.0) -> FrameTracks:
    """One person walking right, detected on every frame."""
    for frame in range(start, start + frames):
        tracks = tracker.update(frame, seen(box_at(100 + speed * frame)))
    return tracks


def states_of(tracks: FrameTracks) -> list[TrackState]:
    return [track.state for track in tracks]


@ALL
def test_a_walking_person_is_one_confirmed_track(name: str) -> None:
    (track,) = walk(create_tracker(name), 10)
    assert (track.track_id, track.state, track.label) == (1, TrackState.CONFIRMED, "person")
    assert (track.detection_index, track.frames_since_seen, track.age_frames) == (0, 0, 9)
    assert track.box_xyxy == pytest.approx(box_at(127), abs=3)
    assert track.score == pytest.approx(0.9)


@ALL
def test_a_newcomer_is_tentative_at_first(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    tracks = tracker.update(6, seen(box_at(118), box_at(500)))
    assert states_of(tracks) == [TrackState.CONFIRMED, TrackState.TENTATIVE]
    assert tracks.confirmed_now.tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "detections_needed"),
    [
        pytest.param("sort", 4, id="three hits after the first"),
        pytest.param("ocsort", 4, id="like sort"),
        pytest.param("bytetrack", 2, id="the second detection"),
        pytest.param("kinetrack", 2, id="like bytetrack"),
    ],
)
def test_how_many_detections_confirm(name: str, detections_needed: int) -> None:
    tracker = create_tracker(name)
    for frame in range(6):
        tracker.update(frame, seen())
    found = []
    for frame in range(6, 6 + detections_needed):
        found.append(tracker.update(frame, seen(box_at(100 + frame))).states.tolist())
    expected = [[TrackState.TENTATIVE]] * (detections_needed - 1) + [[TrackState.CONFIRMED]]
    assert found == expected


@ALL
def test_a_missed_track_is_lost_moves_on_and_ends(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 10)
    tracks = tracker.update(10, seen())
    (lost,) = tracks
    assert (lost.state, lost.detection_index, lost.frames_since_seen) == (TrackState.LOST, -1, 1)
    assert lost.box_xyxy == pytest.approx(box_at(130), abs=5)
    frame = 10
    while not tracks.ended:
        frame += 1
        tracks = tracker.update(frame, seen())
    assert tracks.ended == (1,)
    assert len(tracks) == 0
    assert frame - 9 == tracker.settings.max_lost_frames + 1


@pytest.mark.parametrize("name", ["kinetrack", "bytetrack", "ocsort"])
def test_a_hidden_person_keeps_the_identity(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 20)
    for frame in range(20, 30):
        tracker.update(frame, seen())
    assert walk(tracker, 5, start=30).ids.tolist() == [1]


@ALL
def test_ids_are_not_reused_after_the_end(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 5)
    for frame in range(5, 40):
        tracker.update(frame, seen())
    assert walk(tracker, 5, start=40).ids.tolist() == [2]


@ALL
def test_two_people_who_cross_keep_their_identities(name: str) -> None:
    tracker = create_tracker(name)
    for frame in range(60):
        left, right = box_at(100 + 5 * frame, 100), box_at(400 - 5 * frame, 140)
        tracks = tracker.update(frame, seen(left, right))
    matched = dict(zip(tracks.ids.tolist(), tracks.detection_index.tolist(), strict=True))
    assert matched == {1: 0, 2: 1}  # of equal scores the leftmost box is numbered first


@ALL
def test_labels_separate_tracks(name: str) -> None:
    tracker = create_tracker(name)
    both = seen(box_at(100), box_at(102), labels=("person", "dog"))
    for frame in range(6):
        tracks = tracker.update(frame, both)
    assert sorted(tracks.labels) == ["dog", "person"]
    swapped = seen(box_at(100), box_at(102), labels=("dog", "person"))
    after = {t.track_id: t.detection_index for t in tracker.update(6, swapped)}
    dog = tracks.labels.index("dog")
    assert after[int(tracks.ids[dog])] == 0


@ALL
def test_labels_may_be_ignored(name: str) -> None:
    tracker = create_tracker(name, TrackerConfig(class_aware=False))
    for frame in range(8):
        tracks = tracker.update(frame, seen(box_at(100), labels=("cat" if frame % 2 else "dog",)))
    assert (tracks.ids.tolist(), tracks.labels) == ([1], ("dog",))


@ALL
def test_frames_without_a_detector_run_are_not_misses(name: str) -> None:
    tracker = create_tracker(name)
    for frame in range(60):
        ran = frame % 3 == 0
        tracks = tracker.update(frame, seen(box_at(100 + 3 * frame)) if ran else None)
        if frame >= 12:
            assert states_of(tracks) == [TrackState.CONFIRMED]
            assert tracks.frames_since_seen.tolist() == [frame % 3]
            assert tracks.boxes_xyxy[0] == pytest.approx(box_at(100 + 3 * frame), abs=8)
    assert tracks.ids.tolist() == [1]


@ALL
def test_skipped_frame_ids_equal_frames_without_a_run(name: str) -> None:
    jumping, stepping = create_tracker(name), create_tracker(name)
    for frame in range(0, 60, 4):
        found = seen(box_at(100 + 3 * frame), box_at(600 - 2 * frame))
        after_jump = jumping.update(frame, found)
        for between in range(max(0, frame - 3), frame):
            stepping.update(between, None)
        after_steps = stepping.update(frame, found)
        np.testing.assert_array_equal(after_jump.ids, after_steps.ids)
        np.testing.assert_allclose(after_jump.boxes_xyxy, after_steps.boxes_xyxy, atol=0.5)


@ALL
def test_a_rare_detector_may_miss_once(name: str) -> None:
    tracker = create_tracker(name)
    for run in range(12):
        missed = run == 8
        tracks = tracker.update(run * 15, seen() if missed else seen(box_at(100 + run)))
    assert tracks.ids.tolist() == [1]


@ALL
def test_an_observation_sets_the_box_and_confirms(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    tracker.update(6, seen(box_at(118), box_at(500)))
    (newcomer,) = [t for t in tracker.update(7, None) if t.state is TrackState.TENTATIVE]
    tracks = tracker.update(8, None, [Observation(newcomer.track_id, box_at(510), 0.7)])
    (observed,) = [t for t in tracks if t.track_id == newcomer.track_id]
    assert (observed.state, observed.frames_since_seen) == (TrackState.CONFIRMED, 0)
    assert observed.box_xyxy == pytest.approx(box_at(510))
    assert observed.score == pytest.approx(0.7)


@ALL
def test_an_observed_object_absorbs_its_detection(name: str) -> None:
    tracker = create_tracker(name)
    tracks = walk(tracker, 6)
    for frame in range(6, 20):  # the mask says right, far from where the filter would look
        place = 115 + 30 * (frame - 5)
        tracks = tracker.update(frame, seen(box_at(place + 8)), [Observation(1, box_at(place))])
        assert tracks.boxes_xyxy[0] == pytest.approx(box_at(place))
    assert (tracks.ids.tolist(), tracks.detection_index.tolist()) == ([1], [0])


@ALL
def test_a_detection_of_an_observed_object_goes_to_no_other_track(name: str) -> None:
    tracker = create_tracker(name)
    for frame in range(6):
        tracker.update(frame, seen(box_at(100), box_at(300)))
    # The mask of the first stands where the second was; the second is hidden behind it.
    tracks = tracker.update(6, seen(box_at(300)), [Observation(1, box_at(302))])
    assert tracks.detection_index.tolist() == [0, -1]
    assert states_of(tracks) == [TrackState.CONFIRMED, TrackState.LOST]


@ALL
def test_a_loose_detection_of_an_observed_object_starts_no_track(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    loose = seen(box_at(130))  # IoU 0.45 with the mask's box
    for frame in range(6, 12):
        tracks = tracker.update(frame, loose, [Observation(1, box_at(115))])
    assert (tracks.ids.tolist(), tracks.detection_index.tolist()) == ([1], [0])


@ALL
def test_an_observed_track_survives_runs_that_miss_it(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    for frame in range(6, 80):
        tracks = tracker.update(frame, seen(), [Observation(1, box_at(115))])
    assert states_of(tracks) == [TrackState.CONFIRMED]


@ALL
def test_an_observation_of_an_unknown_track_changes_nothing(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    tracks = tracker.update(6, seen(box_at(118)), [Observation(77, box_at(118))])
    assert tracks.unknown_observations == (77,)
    assert tracks.ids.tolist() == [1]


@ALL
def test_ending_tracks_by_hand(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    assert tracker.end([1, 99]) == (1,)
    assert walk(tracker, 4, start=6).ids.tolist() == [2]


@ALL
def test_two_hundred_boxes_leave_the_image_without_harm(name: str) -> None:
    tracker = create_tracker(name)
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 3000, (200, 2)), np.array([30, 60])
    for frame in range(20):
        boxes = np.concatenate([corner, corner + size], axis=1) + 40 * frame - 200
        tracks = tracker.update(frame, seen(*boxes.tolist()))
        assert np.isfinite(tracks.boxes_xyxy).all()
    assert len(tracks) >= 150


@pytest.mark.parametrize("name", ["bytetrack", "kinetrack"])
def test_a_weak_detection_continues_a_track_but_starts_none(name: str) -> None:
    tracker = create_tracker(name)
    walk(tracker, 6)
    for frame in range(6, 12):
        strong, weak = seen(box_at(100 + 3 * frame), box_at(600)), np.array([0.3, 0.3], np.float32)
        tracks = tracker.update(frame, Detections(strong.boxes_xyxy, weak, strong.labels))
    assert (tracks.ids.tolist(), states_of(tracks)) == ([1], [TrackState.CONFIRMED])


def test_the_default_fits_itself_to_a_detector_of_low_scores() -> None:
    tracker = create_tracker("auto")
    for frame in range(6):
        tracks = tracker.update(frame, seen(box_at(100 + frame), score=0.25))
    assert states_of(tracks) == [TrackState.CONFIRMED]


def test_thresholds_that_the_caller_sets_hold_as_they_are() -> None:
    tracker = create_tracker("auto", TrackerConfig(new_track_score=0.5))
    for frame in range(6):
        tracks = tracker.update(frame, seen(box_at(100 + frame), score=0.25))
    assert len(tracks) == 0


def test_the_default_follows_what_moves_by_more_than_its_own_width() -> None:
    tracker = create_tracker("auto")
    ids = [tracker.update(5 * run, seen(box_at(100 + 45 * run))).ids.tolist() for run in range(10)]
    assert ids == [[1]] * 10


@pytest.mark.parametrize(
    ("frame_id", "observations", "message"),
    [
        pytest.param(5, [], "expected a frame id above 5, got 5", id="same frame"),
        pytest.param(4, [], "expected a frame id above 5, got 4", id="earlier frame"),
        pytest.param(
            6,
            [Observation(1, box_at(0)), Observation(1, box_at(9))],
            r"one observation per track, got \[1, 1\]",
            id="observed twice",
        ),
    ],
)
def test_bad_updates_say_what_is_wrong(
    frame_id: int, observations: list[Observation], message: str
) -> None:
    tracker = create_tracker("auto")
    walk(tracker, 6)
    with pytest.raises(ValueError, match=message):
        tracker.update(frame_id, seen(), observations)


@pytest.mark.parametrize(
    ("box", "score", "message"),
    [
        pytest.param((0, 0, np.nan, 1), 0.5, "coordinates within", id="NaN"),
        pytest.param((0, 0, np.inf, 1), 0.5, "coordinates within", id="infinite"),
        pytest.param((0, 0, 1e9, 1), 0.5, "coordinates within", id="absurdly far"),
        pytest.param((5, 0, 1, 1), 0.5, "x_min <= x_max", id="inverted"),
        pytest.param((0, 0, 1, 1), 1.5, r"scores? within 0\.\.1", id="score above one"),
        pytest.param((0, 0, 1, 1), np.nan, r"scores? within 0\.\.1", id="score NaN"),
    ],
)
def test_bad_boxes_are_refused(box: Box, score: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seen(box, score=score)
    with pytest.raises(ValueError, match=message):
        Observation(1, box, score)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"boxes of shape \(1, 4\), got \(2, 4\)"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), ("a",))
    with pytest.raises(ValueError, match=r"scores of shape \(1,\), got \(3,\)"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(3, np.float32), ("a",))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"min_hits": -1}, "min_hits of at least 0, got -1", id="negative hits"),
        pytest.param({"min_iou": 1.5}, r"min_iou within 0\.\.1, got 1\.5", id="IoU above one"),
    ],
)
def test_bad_settings_are_refused(config: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrackerConfig(**config)  # type: ignore[arg-type]  # wrong on purpose


def test_names() -> None:
    assert create_tracker("auto").name == algorithm_names()[0] == "kinetrack"
    assert set(algorithm_names()) == {"kinetrack", "sort", "bytetrack", "ocsort"}
    with pytest.raises(ValueError, match=r"expected one of auto, kinetrack, sort, .* got 'deep'"):
        create_tracker("deep")


@pytest.mark.skipif(not CAMPUS.is_dir(), reason="needs ../shared/data/mot/TUD-Campus")
def test_the_default_is_the_best_of_the_known_ones_at_once() -> None:
    counts = score(algorithm_names()[0], find_sequences(CAMPUS), repeats=1).counts
    assert counts.mota >= 62
    assert counts.idf1 >= 66
    assert counts.switches <= 6


@ALL
def test_memory_stays_flat_whatever_is_fed(name: str) -> None:
    tracker = create_tracker(name, TrackerConfig(max_lost_frames=100_000))
    rng = np.random.default_rng(0)
    longest = 0
    for frame in range(12):
        corner = rng.uniform(0, 1e5, (1000, 2))
        boxes = np.concatenate([corner, corner + 10], axis=1).astype(np.float32)
        labels = tuple(f"label {frame} {i}" for i in range(1000))
        tracks = tracker.update(frame, Detections(boxes, np.ones(1000, np.float32), labels))
        longest = max(longest, len(tracks))
    assert 1000 <= longest <= 4096
    assert len(tracker.snapshot()) < 4096 * 1000
