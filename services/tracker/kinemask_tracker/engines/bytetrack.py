"""ByteTrack: Zhang et al., "Multi-object tracking by associating every detection box", 2022."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kinemask_tracker.engines.assignment import pair_allowed
from kinemask_tracker.engines.base import TrackState
from kinemask_tracker.engines.boxes import iou_matrix
from kinemask_tracker.engines.config import TrackerSettings
from kinemask_tracker.engines.core import AssociationTracker
from kinemask_tracker.engines.motion import HeightModel, MotionModel
from kinemask_tracker.engines.run import DetectorRun
from kinemask_tracker.engines.table import BoolArray

LOW_SCORE_IOU = 0.5
TENTATIVE_IOU = 0.3


class ByteTracker(AssociationTracker):
    """Confident detections are associated first, then the weak ones with what is left.

    A weak detection may continue a track but never start one. Defaults are the paper's: scores
    0.6 and 0.1, new tracks from 0.7, IoU 0.2 and 0.5, thirty frames of patience; a track is
    confirmed by its second detection, or at once on the stream's first detector run, and dropped
    when that second detection does not come.
    """

    name = "bytetrack"
    motion_model: ClassVar[MotionModel] = HeightModel()
    freezes_lost_size = True
    defaults: ClassVar[TrackerSettings] = TrackerSettings(
        min_hits=1,
        max_lost_frames=30,
        high_score=0.6,
        low_score=0.1,
        new_track_score=0.7,
        min_iou=0.2,
    )

    def _associate(self, run: DetectorRun) -> None:
        states, high = self._tracks.states, run.high
        tentative = states == TrackState.TENTATIVE
        self._pair(run, ~tentative, high, self.settings.min_iou)
        self._pair(run, states == TrackState.CONFIRMED, ~high, LOW_SCORE_IOU)
        self._pair(run, tentative, high, TENTATIVE_IOU)

    def _pair(
        self, run: DetectorRun, tracks: BoolArray, detections: BoolArray, least_iou: float
    ) -> None:
        rows = np.flatnonzero(run.open_rows & tracks)
        columns = np.flatnonzero(run.spare & detections)
        iou = iou_matrix(self._tracks.boxes[rows], run.boxes[columns])
        allowed = (iou >= least_iou) & run.same_label(rows, columns)
        run.claim_pairs(rows, columns, pair_allowed(iou, allowed))

    def _judge(self, seen: BoolArray) -> BoolArray:
        tracks = self._tracks
        tentative = tracks.states == TrackState.TENTATIVE
        enough = (tracks.hits >= self.settings.min_hits) | (self._runs == 1)
        tracks.states[seen & (~tentative | enough)] = TrackState.CONFIRMED
        tracks.states[~seen & ~tentative] = TrackState.LOST
        return np.asarray(~(self._expired() | (~seen & tentative)))
