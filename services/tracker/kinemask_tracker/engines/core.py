"""What all trackers share: the order of a frame, births and ends of tracks, certain observations.

An algorithm says how boxes move (`motion_model`), which detections belong to which tracks
(`_associate`), and when a track is believed (`_judge`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import ClassVar

import numpy as np
from kinemask_chassis.snapshots import Json

from kinemask_tracker.engines import motion
from kinemask_tracker.engines.assignment import pair_allowed
from kinemask_tracker.engines.base import Detections, FrameTracks, Observation, TrackState
from kinemask_tracker.engines.boxes import FloatArray, iou_matrix
from kinemask_tracker.engines.config import TrackerConfig, TrackerSettings
from kinemask_tracker.engines.labels import LabelBook
from kinemask_tracker.engines.run import DetectorRun, ScoreLimits
from kinemask_tracker.engines.saved import SavedState, load, save
from kinemask_tracker.engines.table import BoolArray, IntArray, TrackTable

MAX_STEP_FRAMES = 30
"""A longer gap between frames predicts no further: a second of blind motion is a guess already."""
MAX_TRACKS = 4096
"""Beyond so many living tracks those unseen the longest end, so that memory and time stay flat."""
TOLERATED_MISSES = 2
"""Missed detector runs that never end a track by the clock alone, however rarely it runs."""
OBSERVED_IOU = 0.5
"""From this overlap on a detection is the observed object itself, whatever else is near."""
DUPLICATE_IOU = 0.3
"""From this overlap on a detection nobody claimed is the observed object rather than a new one."""


class AssociationTracker(ABC):
    """Base of the trackers; see `base.Tracker` for the public face.

    Invariants: `_tracks.ids` ascend; every id given out is below `_next_id`; rows refer to tracks
    and columns to detections within one update only.
    """

    name: ClassVar[str]
    defaults: ClassVar[TrackerSettings]
    motion_model: ClassVar[motion.MotionModel]
    freezes_lost_size: ClassVar[bool]
    """Whether the size of a lost track stops changing (ByteTrack) or goes on (SORT)."""

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self.settings = self.defaults.overridden(config)
        self._tracks = TrackTable.empty()
        self._labels = LabelBook()
        self._next_id = 1
        self._frame_id = -1
        self._runs = 0

    @abstractmethod
    def _associate(self, run: DetectorRun) -> None:
        """Let open tracks claim detections."""

    @abstractmethod
    def _judge(self, seen: BoolArray) -> BoolArray:
        """After a detector run: set the `states` column, return `(N,)` which tracks go on.

        `seen` `(N,)` marks the tracks that this run or an observation found, newborn ones included.
        """

    def _correct(self, rows: IntArray, boxes: FloatArray, scores: FloatArray) -> None:
        """Bring the filters and boxes of `rows` up to date with what was detected."""
        tracks = self._tracks
        tracks.bank[rows] = motion.correct(self.motion_model, tracks.bank[rows], boxes)
        tracks.boxes[rows] = self.motion_model.decode(tracks.bank[rows, motion.VALUE])

    def _score_limits(self, scores: FloatArray, labels: IntArray) -> ScoreLimits:
        """The least scores for `(M,)` detections of one run."""
        chosen = self.settings
        low, high, new = chosen.low_score, chosen.high_score, chosen.new_track_score
        return ScoreLimits(np.array(low), np.array(high), np.array(new))

    def update(
        self,
        frame_id: int,
        detections: Detections | None,
        observations: Sequence[Observation] = (),
    ) -> FrameTracks:
        """See `base.Tracker.update`."""
        self._check(frame_id, observations)
        self._predict(frame_id)
        unknown = self._observe(observations)
        ended = () if detections is None else self._detect(detections)
        return self._report(ended, unknown)

    def _check(self, frame_id: int, observations: Sequence[Observation]) -> None:
        if frame_id < 0 or frame_id <= self._frame_id:
            raise ValueError(f"expected a frame id above {self._frame_id}, got {frame_id}")
        ids = [o.track_id for o in observations]
        if len(set(ids)) != len(ids):
            raise ValueError(f"expected one observation per track, got {sorted(ids)}")

    def _predict(self, frame_id: int) -> None:
        tracks = self._tracks
        step = min(frame_id - self._frame_id, MAX_STEP_FRAMES)
        self._frame_id = frame_id
        if len(tracks) == 0:
            return
        tracks.detection[:] = -1
        tracks.observed[:] = False
        if self.freezes_lost_size:
            motion.freeze_size(tracks.bank, tracks.states == TrackState.LOST)
        tracks.bank = motion.predict(self.motion_model, tracks.bank, step)
        tracks.boxes = self.motion_model.decode(tracks.bank[:, motion.VALUE])

    def _observe(self, observations: Sequence[Observation]) -> tuple[int, ...]:
        """Set the observed tracks; returns the ids of observations without a track."""
        known = [o for o in observations if self._row_of(o.track_id) >= 0]
        if known:
            tracks = self._tracks
            rows = np.array([self._row_of(o.track_id) for o in known], np.int64)
            boxes = np.array([o.box_xyxy for o in known], np.float64)
            tracks.bank[rows] = motion.correct(self.motion_model, tracks.bank[rows], boxes)
            tracks.see(rows, self._frame_id, boxes, np.array([o.score for o in known]))
            tracks.boxes[rows] = boxes
            tracks.observed[rows] = True
            tracks.states[rows] = TrackState.CONFIRMED
            tracks.streak[rows] = np.maximum(tracks.streak[rows], self.settings.min_hits)
            tracks.hits[rows] = np.maximum(tracks.hits[rows], self.settings.min_hits)
        return tuple(o.track_id for o in observations if self._row_of(o.track_id) < 0)

    def _row_of(self, track_id: int) -> int:
        row = int(np.searchsorted(self._tracks.ids, track_id))
        return row if row < len(self._tracks) and self._tracks.ids[row] == track_id else -1

    def _detect(self, detections: Detections) -> tuple[int, ...]:
        """Associate, then begin and end tracks; returns the ids that ended."""
        self._runs += 1
        self._tracks.labels = self._labels.forget_idle(self._tracks.labels)
        codes = self._labels.codes_of(detections.labels)
        limits = self._score_limits(detections.scores.astype(np.float64), codes)
        run = DetectorRun.of(
            detections, codes, limits, self._tracks, class_aware=self.settings.class_aware
        )
        self._absorb(run, OBSERVED_IOU)
        self._associate(run)
        self._absorb(run, DUPLICATE_IOU)
        seen = self._take(run)
        born = self._begin(run)
        keep = self._judge(np.concatenate([seen, np.ones(born, np.bool_)]))
        keep[self._longest_unseen(keep)] = False
        ended = tuple(self._tracks.ids[~keep].tolist())
        if ended:
            self._tracks.keep(keep)
        return ended

    def _absorb(self, run: DetectorRun, least_iou: float) -> None:
        """Give each observed track the spare detection that overlaps it best."""
        if not self._tracks.observed.any():
            return
        waiting = self._tracks.observed.copy()
        waiting[run.track_row[run.track_row >= 0]] = False
        rows, columns = np.flatnonzero(waiting), np.flatnonzero(run.spare)
        iou = iou_matrix(self._tracks.boxes[rows], run.boxes[columns])
        allowed = (iou >= least_iou) & run.same_label(rows, columns)
        run.claim_pairs(rows, columns, pair_allowed(iou, allowed))

    def _take(self, run: DetectorRun) -> BoolArray:
        """Update the tracks with what they claimed; returns `(N,)` which were seen."""
        tracks = self._tracks
        columns = np.flatnonzero(run.track_row >= 0)
        rows = run.track_row[columns]
        tracks.detection[rows] = run.source[columns]
        seen = tracks.observed.copy()
        columns, rows = columns[~seen[rows]], rows[~seen[rows]]  # observations win
        if len(rows):
            self._correct(rows, run.boxes[columns], run.scores[columns])
            tracks.see(rows, self._frame_id, run.boxes[columns], run.scores[columns])
        seen[rows] = True
        tracks.hits += seen
        tracks.streak = np.where(seen, tracks.streak + 1, 0)
        tracks.missed_runs = np.where(seen, 0, tracks.missed_runs + 1)
        return seen

    def _begin(self, run: DetectorRun) -> int:
        """Start tracks from what nobody claimed; returns how many."""
        columns = np.flatnonzero(run.spare & run.may_begin)
        count = len(columns)
        if count:
            new = TrackTable.of_new(
                np.arange(self._next_id, self._next_id + count, dtype=np.int64),
                run.labels[columns],
                self._frame_id,
                motion.start(self.motion_model, run.boxes[columns]),
                run.boxes[columns],
            )
            new.scores = run.scores[columns]
            new.detection = run.source[columns]
            self._tracks.append(new)
            self._next_id += count
        return count

    def _expired(self) -> BoolArray:
        """`(N,)` unseen for longer than the settings allow; see `TrackerConfig.max_lost_frames`."""
        limit = self.settings.max_lost_frames
        unseen_frames = self._frame_id - self._tracks.last_frame
        missed = self._tracks.missed_runs
        return np.asarray((unseen_frames > limit) & (missed > min(limit, TOLERATED_MISSES)))

    def _longest_unseen(self, keep: BoolArray) -> IntArray:
        """Rows to end of those in `keep` so that `MAX_TRACKS` remain."""
        rows = np.flatnonzero(keep)
        surplus = max(0, len(rows) - MAX_TRACKS)
        return rows[np.argsort(self._tracks.last_frame[rows], kind="stable")[:surplus]]

    def _report(self, ended: tuple[int, ...], unknown: tuple[int, ...]) -> FrameTracks:
        tracks = self._tracks
        return FrameTracks(
            frame_id=self._frame_id,
            ids=tracks.ids.copy(),
            labels=tuple(self._labels.names[code] for code in tracks.labels.tolist()),
            boxes_xyxy=tracks.boxes.astype(np.float32),
            scores=tracks.scores.astype(np.float32),
            states=tracks.states.copy(),
            detection_index=tracks.detection.copy(),
            frames_since_seen=self._frame_id - tracks.last_frame,
            age_frames=self._frame_id - tracks.first_frame,
            ended=ended,
            unknown_observations=unknown,
        )

    def end(self, track_ids: Collection[int]) -> tuple[int, ...]:
        """See `base.Tracker.end`."""
        named = np.isin(self._tracks.ids, list(track_ids))
        ended = tuple(self._tracks.ids[named].tolist())
        self._tracks.keep(~named)
        return ended

    def snapshot(self) -> bytes:
        """See `base.Tracker.snapshot`."""
        state = SavedState(self._next_id, self._frame_id, self._runs, self._labels, self._tracks)
        return save(self.name, self._identity(), state)

    def restore(self, snapshot: bytes) -> None:
        """See `base.Tracker.restore`."""
        state = load(self.name, self._identity(), snapshot)
        self._next_id, self._frame_id, self._runs = state.next_id, state.frame_id, state.runs
        self._labels, self._tracks = state.labels, state.tracks

    def _identity(self) -> dict[str, Json]:
        """What a snapshot must agree on: what the caller gave, and what came of it."""
        return {"given": asdict(self.config), "settings": asdict(self.settings)}
