"""The metrics against tables worked out by hand, and against what must hold for any input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mot_data import find_sequences, without_distracted
from benchmarks.mot_metrics import LabelledBoxes, MotCounts, evaluate, iou_matrix
from benchmarks.tracker_mot import GOLDEN, GOLDEN_TOLERANCE, golden_row

PLACES = {
    "a": (0.0, 0.0, 10.0, 10.0),
    "b": (100.0, 0.0, 110.0, 10.0),
    "c": (200.0, 0.0, 210.0, 10.0),
    "a+2": (2.0, 0.0, 12.0, 10.0),  # IoU with a: 8/12
    "a+4": (4.0, 0.0, 14.0, 10.0),  # IoU with a: 6/14, too little
}
CAMPUS = Path(__file__).parents[3] / "shared" / "data" / "mot" / "TUD-Campus"


def frames_of(*frames: str) -> list[LabelledBoxes]:
    """`"1a 2b"` is a frame with identity 1 at place a and 2 at b."""
    return [labelled([(int(word[0]), PLACES[word[1:]]) for word in f.split()]) for f in frames]


def labelled(rows: list[tuple[int, tuple[float, ...]]]) -> LabelledBoxes:
    ids = np.array([identity for identity, _ in rows], np.int64)
    return LabelledBoxes(ids, np.array([box for _, box in rows], np.float64).reshape(-1, 4))


@pytest.mark.parametrize(
    ("truth", "tracks", "expected"),
    [
        pytest.param(["1a", "1a"], ["5a", "5a"], (0, 0, 0, 2), id="perfect"),
        pytest.param(["1a", "1a"], ["", ""], (0, 2, 0, 0), id="all missed"),
        pytest.param(["", ""], ["5a", "5b"], (2, 0, 0, 0), id="all false"),
        pytest.param(["1a", "1a"], ["5a", "6a"], (0, 0, 1, 1), id="switch between frames"),
        pytest.param(
            ["1a", "1a", "1a"], ["5a", "", "6a"], (0, 1, 1, 1), id="switch across a gap counts"
        ),
        pytest.param(["1a", "1a", "1a"], ["5a", "", "5a"], (0, 1, 0, 2), id="same id after a gap"),
        pytest.param(["1a"], ["5a+4"], (1, 1, 0, 0), id="too little overlap is false and missed"),
        pytest.param(
            ["1a", "1a"],
            ["5a+2", "5a+2 6a"],
            (1, 0, 0, 2),
            id="a pair is kept though a newcomer overlaps more",
        ),
        pytest.param(["1a 2b", "1a 2b"], ["5a 6b", "6a 5b"], (0, 0, 2, 2), id="two swap"),
    ],
)
def test_clear_mot_and_identity_counts(
    truth: list[str], tracks: list[str], expected: tuple[int, int, int, int]
) -> None:
    counts = evaluate(frames_of(*truth), frames_of(*tracks))
    found = (counts.false_positives, counts.misses, counts.switches, counts.identity_matches)
    assert found == expected


def test_percentages_by_hand() -> None:
    # Four boxes each: three matches (IoU 1, 1, 2/3), one switch, one miss, one false box.
    counts = evaluate(frames_of("1a", "1a", "1a", "1a"), frames_of("5a", "5a", "6a+2", "6b"))
    assert (counts.false_positives, counts.misses, counts.switches) == (1, 1, 1)
    assert counts.mota == pytest.approx(100 * (1 - 3 / 4))
    assert counts.motp == pytest.approx(100 * (1 + 1 + 2 / 3) / 3)
    assert counts.idf1 == pytest.approx(100 * 2 * 2 / 8)


def test_hota_by_hand() -> None:
    # One object over four exact frames, split in halves between two ids. At every threshold DetA
    # is 1; each match has TPA 2, FNA 2, FPA 0, so AssA is 1/2.
    counts = evaluate(frames_of(*["1a"] * 4), frames_of("5a", "5a", "6a", "6a"))
    assert counts.hota == pytest.approx(100 * np.sqrt(0.5))


def test_hota_counts_only_thresholds_that_the_overlap_reaches() -> None:
    # IoU 2/3 holds up to alpha 0.65: 13 of 19 thresholds.
    counts = evaluate(frames_of("1a"), frames_of("5a+2"))
    assert counts.hota == pytest.approx(100 * 13 / 19)


def test_sequences_add_up() -> None:
    first = evaluate(frames_of("1a", "1a"), frames_of("5a", "6a"))
    second = evaluate(frames_of("1b"), frames_of(""))
    total = first + second
    assert (total.truth_boxes, total.misses, total.switches) == (3, 1, 1)
    assert total.mota == pytest.approx(100 * (1 - 2 / 3))


def test_nothing_at_all_scores_zero() -> None:
    counts = evaluate([], [])
    assert (counts.mota, counts.motp, counts.idf1, counts.hota) == (0, 0, 0, 0)
    assert counts.truth_boxes == MotCounts().truth_boxes


def test_frame_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="expected 2 frames of tracks, got 1"):
        evaluate(frames_of("1a", "1a"), frames_of("5a"))


def test_ids_must_be_unique_in_a_frame() -> None:
    with pytest.raises(ValueError, match=r"unique ids in a frame, got \[5, 5\]"):
        frames_of("5a 5b")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param("a", 1.0, id="itself"),
        pytest.param("a+2", 8 / 12, id="shifted by a fifth"),
        pytest.param("b", 0.0, id="apart"),
    ],
)
def test_iou(other: str, expected: float) -> None:
    first, second = np.array([PLACES["a"]]), np.array([PLACES[other]])
    assert iou_matrix(first, second)[0, 0] == pytest.approx(expected)


@st.composite
def tracked_frames(draw: st.DrawFn) -> list[LabelledBoxes]:
    count = draw(st.integers(1, 6))
    places = [tuple(place) for place in PLACES.values()]
    frames = []
    for _ in range(count):
        ids = draw(st.lists(st.integers(1, 4), unique=True, max_size=4))
        rows = [(identity, draw(st.sampled_from(places))) for identity in ids]
        frames.append(labelled(rows))
    return frames


@settings(max_examples=60, deadline=None)
@given(tracked_frames())
def test_truth_against_itself_is_perfect(frames: list[LabelledBoxes]) -> None:
    counts = evaluate(frames, frames)
    if counts.truth_boxes and len(np.unique(np.concatenate([f.ids for f in frames]))) == 1:
        assert counts.switches == 0
        assert counts.hota == pytest.approx(100)
    assert counts.false_positives == counts.misses == 0
    assert counts.identity_matches == counts.truth_boxes


@settings(max_examples=60, deadline=None)
@given(tracked_frames(), tracked_frames(), st.permutations([1, 2, 3, 4]))
def test_names_of_identities_do_not_matter(
    truth: list[LabelledBoxes], tracks: list[LabelledBoxes], names: list[int]
) -> None:
    length = min(len(truth), len(tracks))
    truth, tracks = truth[:length], tracks[:length]
    renamed = [
        LabelledBoxes(np.array([names[i - 1] for i in f.ids.tolist()], np.int64), f.boxes_xyxy)
        for f in tracks
    ]
    before, after = evaluate(truth, tracks), evaluate(truth, renamed)
    assert (before.mota, before.switches) == (after.mota, after.switches)
    assert before.idf1 == pytest.approx(after.idf1)
    assert before.hota == pytest.approx(after.hota)


@settings(max_examples=60, deadline=None)
@given(tracked_frames(), tracked_frames())
def test_figures_stay_in_their_ranges(
    truth: list[LabelledBoxes], tracks: list[LabelledBoxes]
) -> None:
    length = min(len(truth), len(tracks))
    counts = evaluate(truth[:length], tracks[:length])
    assert counts.mota <= 100
    for figure in (counts.motp, counts.idf1, counts.hota):
        assert 0 <= figure <= 100 + 1e-9
    assert counts.matches + counts.misses == counts.truth_boxes
    assert counts.matches + counts.false_positives == counts.hypothesis_boxes
    assert counts.identity_matches <= min(counts.truth_boxes, counts.hypothesis_boxes)


def test_tracks_on_distractors_are_left_out() -> None:
    tracks, truth = frames_of("5a 6b 7c")[0], frames_of("1a")[0]
    kept = without_distracted(tracks, truth, np.array([PLACES["b"]]))
    assert kept.ids.tolist() == [5, 7]


@pytest.mark.parametrize("nested", [False, True], ids=["flat layout", "MOTChallenge layout"])
def test_reading_counts_only_people_who_count(tmp_path: Path, nested: bool) -> None:
    write_clip(tmp_path / "clip", nested)
    (clip,) = find_sequences(tmp_path)
    assert clip.name == "clip"
    assert len(clip.truth) == len(clip.detections) == 3
    assert [f.ids.tolist() for f in clip.truth] == [[1], [], [1]]
    assert len(clip.distractors_xyxy[0]) == 1
    assert clip.detections[0].boxes_xyxy.tolist() == [[10.0, 20.0, 40.0, 60.0]]


def write_clip(folder: Path, nested: bool) -> None:
    detections = folder / ("det/det.txt" if nested else "det.txt")
    truth = folder / ("gt/gt.txt" if nested else "gt.txt")
    for path in (detections, truth):
        path.parent.mkdir(parents=True, exist_ok=True)
    detections.write_text("1,-1,10,20,30,40,0.9,-1,-1,-1\n")
    truth.write_text(
        "1,1,10,20,30,40,1,1,1\n"  # a person
        "1,2,60,20,30,40,0,8,1\n"  # a distractor
        "1,3,90,20,30,40,0,3,1\n"  # a car
        "3,1,10,20,30,40,1,-1,1\n"  # a person in the older form
    )


def test_a_folder_without_clips_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected det\.txt and gt\.txt"):
        find_sequences(tmp_path)


@pytest.mark.skipif(not CAMPUS.is_dir(), reason="needs ../shared/data/mot/TUD-Campus")
def test_sort_gives_its_published_row() -> None:
    (clip,) = find_sequences(CAMPUS)
    assert golden_row(clip) == pytest.approx(GOLDEN, abs=GOLDEN_TOLERANCE)
