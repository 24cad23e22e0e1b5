"""What is stored of a frame: objects with masks, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from kinemask import masks
from numpy.typing import NDArray

BoxXyxy = tuple[float, float, float, float]


class MaskOrigin(IntEnum):
    """Where an object's mask on a frame comes from; numbers as in jobs.proto."""

    FOLLOWED = 1
    BACKWARD_FILL = 2
    LEAK_GUARD = 3


class ObjectState(IntEnum):
    """How sure a track is; numbers as TrackState in tracker.proto."""

    UNSPECIFIED = 0
    TENTATIVE = 1
    CONFIRMED = 2
    LOST = 3


@dataclass(frozen=True)
class TrackedName:
    """Whose face it is, as far as a frame knew."""

    person_id: str
    """Empty while undecided or unknown."""
    name: str
    similarity: float
    """Cosine similarity of the best sample: -1..1."""
    decided: bool
    action: tuple[str, str, str] | None = None
    """Kind, target and label of what to do on sight."""


@dataclass(frozen=True)
class TrackedObject:
    """One object on one frame."""

    object_id: int
    """At least 1."""
    label: str
    prompt: str
    """The words it answers; empty for objects by hand."""
    score: float
    """0..1, kept to float32."""
    state: ObjectState
    origin: MaskOrigin
    box_xyxy: BoxXyxy | None = None
    """Tight box of the mask in pixels of the frame, kept to float32; None if it is not there."""
    rle: bytes = b""
    """COCO's compressed RLE of its mask, at the frame's size; empty if it is not there."""
    area_px: int = 0
    name: TrackedName | None = None

    @property
    def present(self) -> bool:
        """True if it has a mask."""
        return bool(self.rle) and self.area_px > 0

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Its pixels `(height, width)`; all False if it is not there.

        Raises:
            ValueError: the frame has another size.
        """
        if not self.rle:
            return np.zeros((height, width), np.bool_)
        return masks.decode_rle(self.rle, height, width)


@dataclass(frozen=True)
class TrackedFrame:
    """Every object on one frame."""

    frame_index: int
    """In the video, from 0."""
    time_us: int
    """When it is shown, in microseconds from the video's first frame."""
    objects: tuple[TrackedObject, ...] = ()
    """Ascending by id."""
    detected: bool = False
    """True if a detector looked at it."""
    scene_cut: bool = False
    """True if a new shot begins here."""
