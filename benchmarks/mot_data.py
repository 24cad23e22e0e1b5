"""Reading MOTChallenge text files: detections in, ground truth in.

Rows are `frame, id, left, top, width, height, confidence, class, visibility` (further columns are
ignored). Which ground-truth rows count follows the MOT16/17 protocol (Milan et al. 2016):
a row counts when its confidence is not 0 and its class is pedestrian (1) or unknown (-1).
Classes that look like people without being walking ones (2 on a vehicle, 7 static person,
8 distractor, 12 reflection) are distractors: a track on one of them is neither right nor wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.mot_metrics import MATCH_IOU, LabelledBoxes, best_pairs, iou_matrix

PEDESTRIAN_CLASSES = (1, -1)
DISTRACTOR_CLASSES = (2, 7, 8, 12)


@dataclass(frozen=True)
class DetectedBoxes:
    """What a detector found on one frame."""

    boxes_xyxy: NDArray[np.float64]
    """`(N, 4)` float64 pixels."""
    scores: NDArray[np.float64]
    """`(N,)`."""


@dataclass(frozen=True)
class MotSequence:
    """One clip: detections, truth and distractors, an entry per frame from `first_frame_id` on."""

    name: str
    first_frame_id: int
    detections: tuple[DetectedBoxes, ...]
    truth: tuple[LabelledBoxes, ...]
    distractors_xyxy: tuple[NDArray[np.float64], ...]
    frame_step: int = 1
    """Difference of consecutive frame ids."""


def find_sequences(folder: Path) -> list[MotSequence]:
    """The sequence in `folder`, or those in its subfolders, ordered by name.

    Raises:
        FileNotFoundError: no folder there holds `det.txt` and `gt.txt` (or `det/det.txt` and
            `gt/gt.txt`).
    """
    places = [folder, *sorted(p for p in folder.glob("*") if p.is_dir())]
    found = [(place, files) for place in places if (files := _files(place)) is not None]
    if not found:
        raise FileNotFoundError(
            f"expected det.txt and gt.txt (or det/det.txt and gt/gt.txt) in {folder} or in its "
            "subfolders, found none"
        )
    return [read_sequence(place.resolve().name, *files) for place, files in found]


def _files(folder: Path) -> tuple[Path, Path] | None:
    for detections, truth in (("det.txt", "gt.txt"), ("det/det.txt", "gt/gt.txt")):
        if (folder / detections).is_file() and (folder / truth).is_file():
            return folder / detections, folder / truth
    return None


def read_sequence(name: str, detections_path: Path, truth_path: Path) -> MotSequence:
    """Read one clip; frames without rows are empty, not missing.

    Raises:
        ValueError: a file has rows of fewer than seven numbers.
    """
    found, marked = _read_rows(detections_path), _read_rows(truth_path)
    frames = np.concatenate([found[:, 0], marked[:, 0]]).astype(int)
    span = range(min(1, int(frames.min())), int(frames.max()) + 1) if len(frames) else range(0)
    classes = marked[:, 7] if marked.shape[1] > 7 else np.full(len(marked), -1.0)
    counts = np.isin(classes, PEDESTRIAN_CLASSES) & (marked[:, 6] != 0)
    distracts = np.isin(classes, DISTRACTOR_CLASSES)
    return MotSequence(
        name,
        span.start,
        tuple(_detected(found[found[:, 0] == i]) for i in span),
        tuple(_labelled(marked[counts & (marked[:, 0] == i)]) for i in span),
        tuple(_xyxy(marked[distracts & (marked[:, 0] == i)]) for i in span),
    )


def _read_rows(path: Path) -> NDArray[np.float64]:
    rows = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    if rows.size and rows.shape[1] < 7:
        raise ValueError(f"{path.name}: expected at least 7 columns, got {rows.shape[1]}")
    return rows if rows.size else np.zeros((0, 10))


def _xyxy(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def _detected(rows: NDArray[np.float64]) -> DetectedBoxes:
    return DetectedBoxes(_xyxy(rows), rows[:, 6])


def _labelled(rows: NDArray[np.float64]) -> LabelledBoxes:
    return LabelledBoxes(rows[:, 1].astype(np.int64), _xyxy(rows))


def without_distracted(
    tracks: LabelledBoxes, truth: LabelledBoxes, distractors_xyxy: NDArray[np.float64]
) -> LabelledBoxes:
    """Leave out the tracks that sit on a distractor rather than on a person who counts."""
    if len(distractors_xyxy) == 0:
        return tracks
    others = np.concatenate([truth.boxes_xyxy, distractors_xyxy])
    overlap = iou_matrix(others, tracks.boxes_xyxy)
    rows, columns = best_pairs(np.where(overlap >= MATCH_IOU, overlap, 0.0))
    taken = (rows >= len(truth.ids)) & (overlap[rows, columns] >= MATCH_IOU)
    keep = np.setdiff1d(np.arange(len(tracks.ids)), columns[taken])
    return LabelledBoxes(tracks.ids[keep], tracks.boxes_xyxy[keep])
