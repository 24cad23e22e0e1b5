"""Multi-object tracking metrics: CLEAR MOT, identity (IDF1) and HOTA.

Written from the papers, all figures over one sequence or summed over several:
  CLEAR MOT: Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance: the
    CLEAR MOT metrics", 2008. Details the paper leaves open follow py-motmetrics, whose counts are
    those of published tables: a pair matched earlier is kept while it still overlaps, however
    long ago that was, and an identity switch is any change from the object's last match.
  IDF1: Ristani et al., "Performance measures and a data set for multi-target, multi-camera
    tracking", 2016. One global one-to-one assignment of identities.
  HOTA: Luiten et al., "HOTA: a higher order metric for evaluating multi-object tracking", 2021.

Boxes are `(N, 4)` xyxy pixels, ids are unique within a frame. A hypothesis matches an object in
CLEAR MOT and IDF1 when their IoU is at least 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import (  # type: ignore[import-untyped]  # scipy ships no type information
    linear_sum_assignment,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MATCH_IOU = 0.5
HOTA_ALPHAS: FloatArray = np.arange(1, 20) / 20.0
"""Localisation thresholds 0.05, 0.10, ... 0.95."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LabelledBoxes:
    """Boxes with identities on one frame, of the truth or of a tracker."""

    ids: IntArray
    """`(N,)` int64, unique within the frame."""
    boxes_xyxy: FloatArray
    """`(N, 4)` float64 pixels."""

    def __post_init__(self) -> None:
        if self.boxes_xyxy.shape != (len(self.ids), 4):
            raise ValueError(f"expected {len(self.ids)} boxes, got shape {self.boxes_xyxy.shape}")
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError(f"expected unique ids in a frame, got {sorted(self.ids.tolist())}")


@dataclass(frozen=True)
class MotCounts:
    """Sums over frames; adding two gives the counts of both sequences together."""

    truth_boxes: int = 0
    hypothesis_boxes: int = 0
    false_positives: int = 0
    misses: int = 0
    switches: int = 0
    matches: int = 0
    overlap_sum: float = 0.0
    """Sum of IoU over CLEAR MOT matches."""
    identity_matches: int = 0
    """IDTP: boxes matched under the best global assignment of identities."""
    hota_matches: FloatArray = field(default_factory=lambda: np.zeros(len(HOTA_ALPHAS)))
    """`(19,)` true positives at each threshold."""
    hota_association: FloatArray = field(default_factory=lambda: np.zeros(len(HOTA_ALPHAS)))
    """`(19,)` association score summed over the true positives of each threshold."""

    def __add__(self, other: MotCounts) -> MotCounts:
        names = self.__dataclass_fields__
        return MotCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def mota(self) -> float:
        """Percent, 100 at best, below zero when errors outnumber the truth."""
        errors = self.false_positives + self.misses + self.switches
        return 100.0 * (1.0 - errors / self.truth_boxes) if self.truth_boxes else 0.0

    @property
    def motp(self) -> float:
        """Mean IoU of matches, percent."""
        return 100.0 * self.overlap_sum / self.matches if self.matches else 0.0

    @property
    def idf1(self) -> float:
        """Percent."""
        total = self.truth_boxes + self.hypothesis_boxes
        return 200.0 * self.identity_matches / total if total else 0.0

    @property
    def hota(self) -> float:
        """Mean over thresholds of sqrt(DetA * AssA), percent."""
        found = self.hota_matches
        either = self.truth_boxes + self.hypothesis_boxes - found
        detection = found / np.maximum(either, 1.0)
        association = self.hota_association / np.maximum(found, 1.0)
        return 100.0 * float(np.sqrt(detection * association).mean())


def iou_matrix(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)`, `(M, 4)` boxes -> `(N, M)` intersection over union in 0..1."""
    a, b = first_xyxy[:, None, :], second_xyxy[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.clip(sides, 0.0, None).prod(axis=-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(axis=-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(axis=-1)
    union = area_a + area_b - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def evaluate(truth: Sequence[LabelledBoxes], tracks: Sequence[LabelledBoxes]) -> MotCounts:
    """Score one sequence; both arguments have one entry per frame, in the same order.

    Raises:
        ValueError: the two have different numbers of frames.
    """
    if len(truth) != len(tracks):
        raise ValueError(f"expected {len(truth)} frames of tracks, got {len(tracks)}")
    overlaps = [iou_matrix(t.boxes_xyxy, h.boxes_xyxy) for t, h in zip(truth, tracks, strict=True)]
    frames = _dense_frames(truth, tracks, overlaps)
    clear = _clear_mot(frames)
    matches, association = _hota(frames)
    return clear + MotCounts(
        identity_matches=_identity_matches(frames),
        hota_matches=matches,
        hota_association=association,
    )


@dataclass(frozen=True)
class _Frame:
    """One frame with identities renumbered 0..n-1, and the IoU of every pair."""

    truth: IntArray
    tracks: IntArray
    overlap: FloatArray


def _dense_frames(
    truth: Sequence[LabelledBoxes], tracks: Sequence[LabelledBoxes], overlaps: Sequence[FloatArray]
) -> list[_Frame]:
    def dense(side: Sequence[LabelledBoxes]) -> list[IntArray]:
        names: dict[int, int] = {}
        return [
            np.array([names.setdefault(i, len(names)) for i in f.ids.tolist()], np.int64)
            for f in side
        ]

    return [_Frame(*row) for row in zip(dense(truth), dense(tracks), overlaps, strict=True)]


def best_pairs(score: FloatArray) -> tuple[IntArray, IntArray]:
    """`(N, M)` scores -> row and column indices of the one-to-one pairing of greatest sum."""
    rows, columns = linear_sum_assignment(score, maximize=True)
    return rows.astype(np.int64), columns.astype(np.int64)


def _clear_mot(frames: Sequence[_Frame]) -> MotCounts:
    last_match: dict[int, int] = {}
    total = MotCounts()
    for frame in frames:
        total += _clear_frame(frame, last_match)
    return total


def _clear_frame(frame: _Frame, last_match: dict[int, int]) -> MotCounts:
    """Count one frame and bring `last_match` (object -> hypothesis) up to date."""
    allowed = frame.overlap >= MATCH_IOU
    pairs = _carried_over(frame, allowed, last_match)
    free_rows = np.setdiff1d(np.arange(len(frame.truth)), [r for r, _ in pairs])
    free_columns = np.setdiff1d(np.arange(len(frame.tracks)), [c for _, c in pairs])
    block = np.ix_(free_rows, free_columns)
    # As many pairs as can be, then the greatest overlap among them: 2 outweighs any overlap.
    rows, columns = best_pairs(np.where(allowed[block], 2.0 + frame.overlap[block], 0.0))
    picked = zip(free_rows[rows].tolist(), free_columns[columns].tolist(), strict=True)
    pairs += [(r, c) for r, c in picked if allowed[r, c]]
    switches = 0
    for row, column in pairs:
        identity, hypothesis = int(frame.truth[row]), int(frame.tracks[column])
        switches += last_match.get(identity, hypothesis) != hypothesis
        last_match[identity] = hypothesis
    return MotCounts(
        truth_boxes=len(frame.truth),
        hypothesis_boxes=len(frame.tracks),
        false_positives=len(frame.tracks) - len(pairs),
        misses=len(frame.truth) - len(pairs),
        switches=switches,
        matches=len(pairs),
        overlap_sum=float(sum(frame.overlap[r, c] for r, c in pairs)),
    )


def _carried_over(
    frame: _Frame, allowed: NDArray[np.bool_], last_match: dict[int, int]
) -> list[tuple[int, int]]:
    columns = {hypothesis: c for c, hypothesis in enumerate(frame.tracks.tolist())}
    pairs: list[tuple[int, int]] = []
    for row, identity in enumerate(frame.truth.tolist()):
        column = columns.get(last_match.get(identity, -1))
        if column is not None and allowed[row, column]:
            pairs.append((row, column))
            del columns[int(frame.tracks[column])]  # two objects may share a last match
    return pairs


def _sizes(frames: Sequence[_Frame]) -> tuple[int, int]:
    truth = max((int(f.truth.max()) + 1 for f in frames if len(f.truth)), default=0)
    tracks = max((int(f.tracks.max()) + 1 for f in frames if len(f.tracks)), default=0)
    return truth, tracks


def _identity_matches(frames: Sequence[_Frame]) -> int:
    together = np.zeros(_sizes(frames))
    for frame in frames:
        together[np.ix_(frame.truth, frame.tracks)] += frame.overlap >= MATCH_IOU
    return int(together[best_pairs(together)].sum())


def _hota(frames: Sequence[_Frame]) -> tuple[FloatArray, FloatArray]:
    """True positives and summed association score, each `(19,)`."""
    counts_truth, counts_tracks, alignment = _alignment(frames)
    per_alpha = np.zeros((len(HOTA_ALPHAS), *alignment.shape))
    for frame in frames:
        if frame.overlap.size == 0:
            continue
        rows, columns = best_pairs(alignment[np.ix_(frame.truth, frame.tracks)] * frame.overlap)
        matched = frame.overlap[rows, columns] >= HOTA_ALPHAS[:, None] - _ROUNDING
        per_alpha[:, frame.truth[rows], frame.tracks[columns]] += matched
    either = counts_truth[:, None] + counts_tracks[None, :] - per_alpha
    association = per_alpha * per_alpha / np.maximum(either, 1.0)
    return per_alpha.sum(axis=(1, 2)), association.sum(axis=(1, 2))


def _alignment(frames: Sequence[_Frame]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Frames per object, frames per hypothesis, and how well each pair aligns over the sequence.

    The alignment (Luiten 2021, the appendix on matching) settles which of several overlapping
    hypotheses an object is paired with, so that the matching favours association.
    """
    truth_size, tracks_size = _sizes(frames)
    counts_truth, counts_tracks = np.zeros(truth_size), np.zeros(tracks_size)
    soft = np.zeros((truth_size, tracks_size))
    for frame in frames:
        counts_truth[frame.truth] += 1
        counts_tracks[frame.tracks] += 1
        shared = frame.overlap
        either = shared.sum(axis=0)[None, :] + shared.sum(axis=1)[:, None] - shared
        share = np.divide(shared, either, out=np.zeros_like(shared), where=either > _ROUNDING)
        soft[np.ix_(frame.truth, frame.tracks)] += share
    either_count = counts_truth[:, None] + counts_tracks[None, :] - soft
    return counts_truth, counts_tracks, soft / np.maximum(either_count, _ROUNDING)
