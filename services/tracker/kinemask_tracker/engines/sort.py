"""SORT: Bewley et al., "Simple online and realtime tracking", 2016."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kinemask_tracker.engines.assignment import pair_then_filter
from kinemask_tracker.engines.base import TrackState
from kinemask_tracker.engines.boxes import iou_matrix
from kinemask_tracker.engines.config import TrackerSettings
from kinemask_tracker.engines.core import AssociationTracker
from kinemask_tracker.engines.motion import AreaModel, MotionModel
from kinemask_tracker.engines.run import DetectorRun
from kinemask_tracker.engines.table import BoolArray


class StreakTracker(AssociationTracker):
    """A tracker that believes a track while detections follow each other without a gap.

    SORT and OC-SORT report a track once `min_hits` matches came in a row, and ask for that row
    again after every miss; until then it is tentative. On the first `min_hits` detector runs of a
    stream everything is believed.
    """

    freezes_lost_size = False

    def _judge(self, seen: BoolArray) -> BoolArray:
        tracks, needed = self._tracks, self.settings.min_hits
        believed = seen & ((tracks.streak >= needed) | (self._runs <= needed))
        missing = ~seen & (tracks.states != TrackState.TENTATIVE)
        tracks.states = np.where(believed, int(TrackState.CONFIRMED), int(TrackState.TENTATIVE))
        tracks.states[missing] = TrackState.LOST
        return ~self._expired()


class SortTracker(StreakTracker):
    """Predicted boxes are paired with detections by overlap, and that is all.

    Defaults are the paper's: three hits, one frame of patience, IoU 0.3; scores play no part.
    """

    name = "sort"
    motion_model: ClassVar[MotionModel] = AreaModel()
    defaults: ClassVar[TrackerSettings] = TrackerSettings(
        min_hits=3,
        max_lost_frames=1,
        high_score=0.0,
        low_score=0.0,
        new_track_score=0.0,
        min_iou=0.3,
    )

    def _associate(self, run: DetectorRun) -> None:
        rows, columns = np.flatnonzero(run.open_rows), np.flatnonzero(run.spare & run.high)
        same = run.same_label(rows, columns)
        iou = iou_matrix(self._tracks.boxes[rows], run.boxes[columns]) * same
        pairs = pair_then_filter(iou, (iou >= self.settings.min_iou) & same)
        run.claim_pairs(rows, columns, pairs)
