"""What every tracking engine looks like to the servicer.

An engine gets boxes per frame and gives each a lasting identity. Boxes are xyxy pixels of the
original frame; they may leave it. Frame ids increase and count at the video's rate, so that an id
difference of three is three times the motion of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinemask_tracker.engines.config import TrackerSettings

COORDINATE_LIMIT_PX = 1e7
"""Boxes reaching further out than this are refused: no image is that large."""


class TrackState(IntEnum):
    """How sure a tracker is of a track."""

    TENTATIVE = 1
    """Seen too few times to be trusted."""
    CONFIRMED = 2
    LOST = 3
    """Confirmed before, missed by the latest detector run; its box is a prediction."""


@dataclass(frozen=True)
class Detections:
    """What a detector found on one frame.

    Raises:
        ValueError: lengths differ, a number is not finite, a box has negative size or lies further
            out than `COORDINATE_LIMIT_PX`, or a score is outside 0..1.
    """

    boxes_xyxy: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """`(N, 4)` float32 pixels."""
    scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """`(N,)` float32, 0..1."""
    labels: tuple[str, ...] = ()
    """A label per box; boxes of different labels never share a track (see `class_aware`)."""

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes_xyxy.shape != (count, 4):
            raise ValueError(f"expected boxes of shape ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.scores.shape != (count,):
            raise ValueError(f"expected scores of shape ({count},), got {self.scores.shape}")
        check_boxes(self.boxes_xyxy)
        if not bool(((self.scores >= 0) & (self.scores <= 1)).all()):
            raise ValueError(f"expected scores within 0..1, got {self.scores.tolist()}")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Observation:
    """A box whose identity is already certain, such as that of a mask carried by a segmenter.

    Raises:
        ValueError: as for a box of `Detections`.
    """

    track_id: int
    box_xyxy: tuple[float, float, float, float]
    score: float = 1.0
    """0..1."""

    def __post_init__(self) -> None:
        check_boxes(np.array([self.box_xyxy], np.float64))
        if not 0 <= self.score <= 1:
            raise ValueError(f"expected a score within 0..1, got {self.score}")


@dataclass(frozen=True)
class Track:
    """One track on one frame."""

    track_id: int
    """Counts up from 1 and is never reused by the same tracker."""
    label: str
    box_xyxy: tuple[float, float, float, float]
    """Where the object is, or is predicted to be when it was not seen on this frame."""
    score: float
    """Of the latest detection or observation, 0..1."""
    state: TrackState
    detection_index: int
    """Which of this frame's detections is this object, -1 for none."""
    frames_since_seen: int
    """0 when this frame had a detection or an observation of it."""
    age_frames: int
    """Frames since the first detection."""


@dataclass(frozen=True)
class FrameTracks:
    """All tracks alive on one frame as columns, ordered by id. Iterate for `Track`s."""

    frame_id: int
    ids: NDArray[np.int64]
    """`(N,)`."""
    labels: tuple[str, ...]
    boxes_xyxy: NDArray[np.float32]
    """`(N, 4)`, always finite."""
    scores: NDArray[np.float32]
    """`(N,)`."""
    states: NDArray[np.int64]
    """`(N,)` values of `TrackState`."""
    detection_index: NDArray[np.int64]
    """`(N,)`, -1 for none."""
    frames_since_seen: NDArray[np.int64]
    """`(N,)`."""
    age_frames: NDArray[np.int64]
    """`(N,)`."""
    ended: tuple[int, ...]
    """Ids that ended on this frame; they are not among `ids` and never come back."""
    unknown_observations: tuple[int, ...] = ()
    """Track ids of observations that named no living track, and so changed nothing."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Track]:
        rows = zip(
            self.ids.tolist(),
            self.labels,
            self.boxes_xyxy.tolist(),
            self.scores.tolist(),
            self.states.tolist(),
            self.detection_index.tolist(),
            self.frames_since_seen.tolist(),
            self.age_frames.tolist(),
            strict=True,
        )
        for track_id, label, box, score, state, *rest in rows:
            yield Track(track_id, label, tuple(box), score, TrackState(state), *rest)

    @property
    def confirmed_now(self) -> NDArray[np.bool_]:
        """`(N,)` bool: confirmed and seen on this frame; what published evaluations count."""
        return np.asarray((self.states == TrackState.CONFIRMED) & (self.frames_since_seen == 0))


class Tracker(Protocol):
    """One video's identities. Not safe to call from two threads at once."""

    @property
    def name(self) -> str:
        """The word a client may ask for, such as `sort`."""
        ...

    @property
    def settings(self) -> TrackerSettings:
        """What is in force after defaults."""
        ...

    def update(
        self,
        frame_id: int,
        detections: Detections | None,
        observations: Sequence[Observation] = (),
    ) -> FrameTracks:
        """Take the next frame.

        `detections` None says that the detector did not run: tracks move as predicted and none is
        counted as missed, whereas an empty `Detections` says it ran and found nothing.
        An observation sets its track's box without association, confirms it, and keeps the
        detection that overlaps it best from becoming another track.

        Raises:
            ValueError: `frame_id` does not increase, or two observations name one track.
        """
        ...

    def end(self, track_ids: Collection[int]) -> tuple[int, ...]:
        """End these tracks at once; returns those of the ids that were alive, ascending.

        An object that is still detected begins a new track, under a new id, on the next run.
        """
        ...

    def snapshot(self) -> bytes:
        """The whole state as an opaque, versioned, checksummed blob."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly from where `snapshot` was taken, in this or another process.

        Raises:
            ValueError: the blob is damaged, or of another version, algorithm or settings; the
                tracker is then unchanged.
        """
        ...


def check_boxes(boxes_xyxy: NDArray[np.floating]) -> None:
    """Raise ValueError unless all `(N, 4)` boxes are finite, ordered and within the limit."""
    within = np.abs(boxes_xyxy) <= COORDINATE_LIMIT_PX  # False for NaN too
    if not bool(within.all()):
        worst = boxes_xyxy[~within.all(axis=1)][0].tolist()
        raise ValueError(f"expected coordinates within +-{COORDINATE_LIMIT_PX:g}, got {worst}")
    ordered = boxes_xyxy[:, :2] <= boxes_xyxy[:, 2:]
    if not bool(ordered.all()):
        worst = boxes_xyxy[~ordered.all(axis=1)][0].tolist()
        raise ValueError(f"expected x_min <= x_max and y_min <= y_max, got {worst}")
