"""What the faces service answers, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kinemask.errors import KinemaskError
from kinemask.results import FrameAnswer
from kinemask.types import Box, PointXy, ServiceInfo

DecisionName = Literal["undecided", "known", "unknown", "stranger", "too poor"]
ProblemName = Literal[
    "",
    "no face",
    "several faces",
    "no face at box",
    "too small",
    "too blurred",
    "turned away",
    "cut off",
    "duplicate",
]


@dataclass(frozen=True)
class FaceQuality:
    """How good a face is for recognition."""

    score: float
    """All in all: 0..1."""
    size_px: float
    """The shorter side of its box."""
    sharpness: float
    """Detail: 0..1."""
    yaw_deg: float
    """Turned to its left (positive) or right."""
    pitch_deg: float
    """Turned up (positive) or down."""
    roll_deg: float
    """Tilted clockwise (positive) in the picture."""
    problem: ProblemName
    """Why it is too poor to be enrolled; empty if it will do."""


@dataclass(frozen=True)
class Face:
    """One face in a picture."""

    box: Box
    score: float
    """Confidence that it is a face: 0..1."""
    landmarks: tuple[PointXy, ...]
    """Right eye, left eye, tip of the nose, right and left corner of the mouth: the person's."""
    quality: FaceQuality
    embedding: tuple[float, ...] = ()
    """L2-normalised; only where it was asked for."""
    token: bytes = b""
    """For an hour, stands for this face in other calls; only where it was asked for."""


@dataclass(frozen=True)
class FaceInPicture:
    """Which face of a picture is meant."""

    image: object
    """`(H, W, 3)` uint8 RGB, encoded bytes, or a path."""
    box: tuple[float, float, float, float] | None = None
    """Roughly where: x_min, y_min, x_max, y_max. None: the largest."""
    only: bool = False
    """True: several faces are refused."""


@dataclass(frozen=True)
class FacesInImage:
    """The faces of one picture, largest first."""

    faces: tuple[Face, ...]
    width: int
    height: int
    error: KinemaskError | None
    """Why the picture could not be worked on."""


@dataclass(frozen=True)
class Verification:
    """Whether two faces are of one person."""

    same: bool
    similarity: float
    """-1..1."""
    threshold: float
    """That held."""
    first: Face
    second: Face
    service: ServiceInfo


@dataclass(frozen=True)
class GalleryModel:
    """A model that a gallery is embedded for."""

    model: str
    revision: str
    dimensions: int
    sample_count: int
    search_method: Literal["exact", "hnsw"]


@dataclass(frozen=True)
class Gallery:
    """A collection of people."""

    gallery_id: str
    name: str
    metadata: Mapping[str, object]
    default_model: str
    models: tuple[GalleryModel, ...]
    person_count: int
    sample_count: int
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True)
class PersonAction:
    """What a client may do when it sees a person."""

    kind: str
    """Such as `link`."""
    target: str
    """For a link, the address."""
    label: str = ""


@dataclass(frozen=True)
class Person:
    """Somebody."""

    person_id: str
    gallery_id: str
    name: str
    metadata: Mapping[str, object]
    action: PersonAction | None
    stranger: bool
    """Enrolled by recognition, and nobody has named them yet."""
    sample_count: int
    merged_person_ids: tuple[str, ...]
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True)
class FaceSample:
    """One face of a person, as it is stored."""

    sample_id: str
    person_id: str
    face: Face
    source: str
    crop_jpeg: bytes
    """Empty unless it was asked for."""
    create_time: datetime


@dataclass(frozen=True)
class Enrolled:
    """What became of one sample."""

    sample: FaceSample | None
    """Set if it was accepted: it is stored."""
    problem: ProblemName = ""
    """Why it was refused."""
    message: str = ""
    """The same in words, with the figure and what it should have been."""
    duplicate_sample_id: str = ""
    """For a duplicate: the sample there is."""
    error: KinemaskError | None = None
    """Set if it could not be worked on."""

    def __bool__(self) -> bool:
        return self.sample is not None


@dataclass(frozen=True)
class FaceMatch:
    """Somebody a face is like."""

    person_id: str
    name: str
    similarity: float
    """-1..1."""
    sample_id: str
    action: PersonAction | None
    metadata: Mapping[str, object]
    """Empty unless it was asked for."""
    stranger: bool


@dataclass(frozen=True)
class RecognisedFace:
    """One face and whose it is."""

    face: Face
    decision: DecisionName
    best: FaceMatch | None
    """The most similar person, whatever the decision."""
    runner_up: FaceMatch | None
    margin: float | None
    new_stranger: bool

    @property
    def name(self) -> str:
        """Of a known person; else empty."""
        return self.best.name if self.best is not None and self.decision == "known" else ""


@dataclass(frozen=True)
class Recognition:
    """The named faces of one picture, largest first."""

    faces: tuple[RecognisedFace, ...]
    width: int
    height: int
    threshold: float
    """That held."""
    error: KinemaskError | None
    """Why the picture could not be worked on."""


@dataclass(frozen=True)
class EnrolAnswer(FrameAnswer):
    """What became of one face of an enrolment stream; `error` if it could not be worked on."""

    enrolled: Enrolled | None = None
    """If it was accepted, it is stored."""


@dataclass(frozen=True)
class RecognisedTrack:
    """One face over time, on one frame."""

    track_id: int
    box: Box
    decision: DecisionName
    """What the votes of its frames say so far."""
    best: FaceMatch | None
    """The person most votes are for."""
    votes: int
    """Votes kept for that person."""
    total_votes: int
    observation: RecognisedFace | None
    """What this frame alone says; None if it was not looked at, or shows no face."""
    deferred: bool
    """True if it was left for a later frame because the budget was spent."""


@dataclass(frozen=True)
class RecognisedFrame(FrameAnswer):
    """The names on one frame of a video."""

    tracks: tuple[RecognisedTrack, ...] = ()
    """Ascending by id."""
    width: int = 0
    height: int = 0
    degraded: KinemaskError | None = None
    """What is missing from this frame, such as names while the database is away."""


@dataclass(frozen=True)
class FaceRegion:
    """Where a track of the caller's own is on a frame."""

    track_id: int
    """From 1; never reused within the stream."""
    box: tuple[float, float, float, float]
    """xyxy pixels."""
    is_person: bool = False
    """True: the face is to be found in it; False: it is the face."""


@dataclass(frozen=True)
class Rejection:
    """A face that is not a certain person."""

    rejection_id: str
    gallery_id: str
    person_id: str
    create_time: datetime


@dataclass(frozen=True)
class Merge:
    """People who became one."""

    merge_id: str
    gallery_id: str
    person_id: str
    merged_person_ids: tuple[str, ...]
    create_time: datetime
    undo_time: datetime | None


@dataclass(frozen=True)
class Removed:
    """How much went."""

    person_count: int
    sample_count: int


@dataclass(frozen=True)
class ReembedProgress:
    """How far embedding a gallery for another model is."""

    done_count: int
    total_count: int
    failed_count: int
    done: bool
