"""OC-SORT: Cao et al., "Observation-centric SORT", 2023."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kinemask_tracker.engines import motion
from kinemask_tracker.engines.assignment import pair_allowed, pair_then_filter
from kinemask_tracker.engines.boxes import FloatArray, iou_matrix
from kinemask_tracker.engines.config import TrackerSettings
from kinemask_tracker.engines.motion import AreaModel, MotionModel
from kinemask_tracker.engines.run import DetectorRun
from kinemask_tracker.engines.sort import StreakTracker
from kinemask_tracker.engines.table import IntArray, TrackTable

DIRECTION_WEIGHT = 0.2
DIRECTION_FRAMES = 3
MAX_REPLAY_STEPS = 60


def direction_agreement(
    tracks: TrackTable, rows: IntArray, boxes_xyxy: FloatArray, frame_id: int
) -> FloatArray:
    """How well moving on to each box would keep a track's direction: `(N, M)` in -0.5..0.5.

    Observation-centric momentum: both directions run between observed centres that lie up to
    `DIRECTION_FRAMES` frames apart, which is steadier than a filter's velocity. 0 where a track
    has been seen once only.
    """
    history = tracks.history[rows]
    centres = (history[..., :2] + history[..., 2:]) * 0.5  # (N, HISTORY, 2)
    recent = frame_id - tracks.history_frame[rows] <= DIRECTION_FRAMES
    anchor = np.maximum(recent.sum(axis=1) - 1, 0)
    start = centres[np.arange(len(rows)), anchor]
    moved = centres[:, 0] - centres[:, -1]
    targets = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) * 0.5
    across = targets[None, :, 0] - start[:, :1]  # (N, M)
    down = targets[None, :, 1] - start[:, 1:]
    dots = across * moved[:, :1] + down * moved[:, 1:]
    lengths = np.hypot(across, down) * np.hypot(moved[:, :1], moved[:, 1:])
    cosine = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    return np.asarray(0.5 - np.arccos(np.clip(cosine, -1, 1)) / np.pi)


def replay(
    model: MotionModel,
    bank: FloatArray,
    path: tuple[FloatArray, FloatArray],
    frames: FloatArray,
    steps: int,
) -> FloatArray:
    """`(N, 5, 4)` filters of the last sight, led in `steps` steps from there to the new boxes.

    Observation-centric re-update: virtual boxes on the straight line between the two `(N, 4)`
    boxes of `path`, `(N,)` `frames` apart, undo the error that grew out of sight.
    """
    before, after = path
    each = np.maximum(frames / steps, 1.0)[:, None]
    for step in range(1, steps + 1):
        virtual = before + (after - before) * (step / steps)
        bank = motion.correct(model, motion.predict(model, bank, each), virtual)
    return bank


def correct_with_replay(
    model: MotionModel, tracks: TrackTable, rows: IntArray, boxes: FloatArray, frame_id: int
) -> None:
    """Bring filters up to date; a track that was missed is replayed from its last sight."""
    missed = tracks.missed_runs[rows]
    direct = rows[missed == 0]
    tracks.bank[direct] = motion.correct(model, tracks.bank[direct], boxes[missed == 0])
    for count in np.unique(missed[missed > 0]).tolist():
        of = missed == count
        again = rows[of]
        frames = (frame_id - tracks.last_frame[again]).astype(np.float64)
        path = (tracks.history[again, 0], boxes[of])
        steps = min(count + 1, MAX_REPLAY_STEPS)
        tracks.bank[again] = replay(model, tracks.sighted_bank[again], path, frames, steps)


class OcSortTracker(StreakTracker):
    """SORT led by observations: direction in the cost, recovery, and repair of the filter.

    Defaults are the paper's: scores from 0.6, IoU 0.3, three hits, thirty frames of patience,
    direction weighted 0.2. Boxes of seen tracks are the detections themselves.
    """

    name = "ocsort"
    motion_model: ClassVar[MotionModel] = AreaModel()
    defaults: ClassVar[TrackerSettings] = TrackerSettings(
        min_hits=3,
        max_lost_frames=30,
        high_score=0.6,
        low_score=0.6,
        new_track_score=0.6,
        min_iou=0.3,
    )

    def _associate(self, run: DetectorRun) -> None:
        rows, columns = np.flatnonzero(run.open_rows), np.flatnonzero(run.spare & run.high)
        same = run.same_label(rows, columns)
        iou = iou_matrix(self._tracks.boxes[rows], run.boxes[columns]) * same
        agreement = direction_agreement(self._tracks, rows, run.boxes[columns], self._frame_id)
        score = iou + DIRECTION_WEIGHT * agreement * run.scores[columns][None, :]
        pairs = pair_then_filter(score, (iou >= self.settings.min_iou) & same)
        run.claim_pairs(rows, columns, pairs)
        self._recover(run)

    def _recover(self, run: DetectorRun) -> None:
        """Observation-centric recovery: try what is left where each track was last seen."""
        rows, columns = np.flatnonzero(run.open_rows), np.flatnonzero(run.spare & run.high)
        iou = iou_matrix(self._tracks.history[rows, 0], run.boxes[columns])
        allowed = (iou >= self.settings.min_iou) & run.same_label(rows, columns)
        run.claim_pairs(rows, columns, pair_allowed(iou, allowed))

    def _correct(self, rows: IntArray, boxes: FloatArray, scores: FloatArray) -> None:
        correct_with_replay(self.motion_model, self._tracks, rows, boxes, self._frame_id)
        self._tracks.boxes[rows] = boxes
