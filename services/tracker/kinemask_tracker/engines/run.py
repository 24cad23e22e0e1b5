"""One detector run while tracks claim its detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinemask_tracker.engines.assignment import Pairs
from kinemask_tracker.engines.base import Detections
from kinemask_tracker.engines.boxes import FloatArray
from kinemask_tracker.engines.table import BoolArray, IntArray, TrackTable


@dataclass(frozen=True)
class ScoreLimits:
    """Least scores, one for all detections or `(M,)` one for each in the caller's order."""

    low: FloatArray
    """To be considered at all."""
    high: FloatArray
    """To take part in the first round."""
    new_track: FloatArray
    """To start a track."""


@dataclass
class DetectorRun:
    """The M detections worth considering, in canonical order, and who has claimed them.

    The order depends on the detections alone (label, score, box), never on how they were listed.
    """

    boxes: FloatArray
    """`(M, 4)` xyxy."""
    scores: FloatArray
    """`(M,)`."""
    labels: IntArray
    """`(M,)` codes."""
    high: BoolArray
    """`(M,)` confident enough for the first round."""
    may_begin: BoolArray
    """`(M,)` confident enough to start a track."""
    source: IntArray
    """`(M,)` index in the caller's detections."""
    track_row: IntArray
    """`(M,)` row of the track that claimed the detection, -1 for none."""
    spare: BoolArray
    """`(M,)` still to be claimed, or to start a track."""
    open_rows: BoolArray
    """`(N,)` tracks still to be given a detection."""
    _track_labels: IntArray | None
    """`(N,)` codes, None when labels do not separate tracks."""

    @classmethod
    def of(
        cls,
        detections: Detections,
        label_codes: IntArray,
        limits: ScoreLimits,
        tracks: TrackTable,
        *,
        class_aware: bool,
    ) -> DetectorRun:
        """Begin a run: nothing is claimed, every track that was not observed is open."""
        boxes, scores = detections.boxes_xyxy, detections.scores
        keys = (boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores, label_codes)
        order = np.lexsort(keys).astype(np.int64)
        source = order[(scores >= limits.low)[order]]
        return cls(
            boxes=boxes[source].astype(np.float64),
            scores=scores[source].astype(np.float64),
            labels=label_codes[source],
            high=(scores >= limits.high)[source],
            may_begin=(scores >= limits.new_track)[source],
            source=source,
            track_row=np.full(len(source), -1, np.int64),
            spare=np.ones(len(source), np.bool_),
            open_rows=~tracks.observed,
            _track_labels=tracks.labels if class_aware else None,
        )

    def same_label(self, rows: IntArray, columns: IntArray) -> BoolArray:
        """`(len(rows), len(columns))` whether label lets track and detection be one object."""
        if self._track_labels is None:
            return np.ones((len(rows), len(columns)), np.bool_)
        return np.asarray(self._track_labels[rows][:, None] == self.labels[columns][None, :])

    def claim(self, rows: IntArray, columns: IntArray) -> None:
        """Give detections `columns` to tracks `rows`, one each."""
        self.track_row[columns] = rows
        self.spare[columns] = False
        self.open_rows[rows] = False

    def claim_pairs(self, rows: IntArray, columns: IntArray, pairs: Pairs) -> None:
        """Claim `pairs`, which index into `rows` and `columns`."""
        self.claim(rows[pairs[0]], columns[pairs[1]])
