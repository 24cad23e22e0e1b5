"""The default tracker: ByteTrack's two rounds, with reach and thresholds that fit themselves.

What it takes from where:
  two rounds by score, tentative tracks last: ByteTrack, Zhang et al. 2022;
  a filter over width and height rather than aspect ratio: BoT-SORT, Aharon et al. 2022;
  boxes enlarged before they are compared, so that objects which moved further than their own size
    can still meet: C-BIoU, Yang et al. 2023; here by the filter's own uncertainty instead of a
    fixed share, so a steady track reaches little and a new or long unseen one reaches far;
  agreement of heights in the score: Hybrid-SORT, Yang et al. 2024.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kinemask_tracker.engines import motion
from kinemask_tracker.engines.assignment import pair_allowed
from kinemask_tracker.engines.base import TrackState
from kinemask_tracker.engines.boxes import FloatArray, enlarged_iou_matrix, height_ratio
from kinemask_tracker.engines.bytetrack import LOW_SCORE_IOU, TENTATIVE_IOU, ByteTracker
from kinemask_tracker.engines.motion import MotionModel, SteadySizeModel
from kinemask_tracker.engines.run import DetectorRun, ScoreLimits
from kinemask_tracker.engines.table import BoolArray, IntArray

REACH_DEVIATIONS = 2.0
"""Boxes are enlarged by this many standard deviations of the predicted centre."""
RISE, FALL = 0.5, 0.02
"""How far a label's score scale goes towards a better, or worse, best score per detector run."""


class KineTracker(ByteTracker):
    """Follows at video rate and when the detector runs on every k-th frame, whatever its scores.

    Detectors differ in what score a sure find gets: 0.9 from one, 0.3 from an open-vocabulary
    one. Score thresholds that the caller leaves unset are therefore shares of a running best
    score per label; those the caller sets hold as they are. Values are ByteTrack's.
    """

    name = "kinetrack"
    motion_model: ClassVar[MotionModel] = SteadySizeModel()

    def _associate(self, run: DetectorRun) -> None:
        tentative = self._tracks.states == TrackState.TENTATIVE
        self._pair_within_reach(run, ~tentative, self.settings.min_iou)
        self._pair(run, ~tentative, ~run.high, LOW_SCORE_IOU)
        self._pair_within_reach(run, tentative, TENTATIVE_IOU)

    def _pair_within_reach(self, run: DetectorRun, tracks: BoolArray, least_iou: float) -> None:
        rows = np.flatnonzero(run.open_rows & tracks)
        columns = np.flatnonzero(run.spare & run.high)
        if len(rows) == 0 or len(columns) == 0:
            return
        boxes, found = self._tracks.boxes[rows], run.boxes[columns]
        iou = enlarged_iou_matrix(boxes, found, self._reach_px(rows))
        allowed = (iou >= least_iou) & run.same_label(rows, columns)
        run.claim_pairs(rows, columns, pair_allowed(iou * height_ratio(boxes, found), allowed))

    def _reach_px(self, rows: IntArray) -> FloatArray:
        """`(N, 2)` how far to look beyond the predicted boxes; at most their own size."""
        deviation = np.sqrt(self._tracks.bank[rows, motion.VAR, :2])
        boxes = self._tracks.boxes[rows]
        return np.minimum(REACH_DEVIATIONS * deviation, boxes[:, 2:] - boxes[:, :2])

    def _score_limits(self, scores: FloatArray, labels: IntArray) -> ScoreLimits:
        self._follow_scores(scores, labels)
        fixed, scale = super()._score_limits(scores, labels), self._labels.scales[labels]
        given = self.config
        return ScoreLimits(
            fixed.low * scale if given.low_score is None else fixed.low,
            fixed.high * scale if given.high_score is None else fixed.high,
            fixed.new_track * scale if given.new_track_score is None else fixed.new_track,
        )

    def _follow_scores(self, scores: FloatArray, labels: IntArray) -> None:
        """Bring the score scale of every label detected on this run up to date."""
        scales = self._labels.scales
        best = np.full(len(scales), -1.0)
        np.maximum.at(best, labels, scores)
        rate = np.where(best > scales, RISE, FALL)
        rate = np.where(scales == 0, 1.0, rate)  # a label's first best score is its scale
        self._labels.scales = np.where(best >= 0, scales + rate * (best - scales), scales)
