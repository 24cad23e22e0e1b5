"""What the library and the jobs answer, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from kinemask.errors import KinemaskError

if TYPE_CHECKING:
    from kinemask.types import RgbImage

JobKindName = Literal["track", "render", "export"]
JobStateName = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
RiskName = Literal[
    "gap covered",
    "gap open",
    "low score",
    "scene cut",
    "too many objects",
    "stage degraded",
    "damaged frame",
    "name undecided",
    "unspecified",
]
"""Why somebody should look at frames, as RiskReason in jobs.proto; `unspecified` stands for reasons
that this client does not know."""


@dataclass(frozen=True)
class AudioTrack:
    """One audio track."""

    codec: str
    channels: int
    sample_rate_hz: int
    language: str
    """ISO 639-2; empty if unknown."""


@dataclass(frozen=True)
class DamagedSpan:
    """Frames that cannot be decoded, both ends included."""

    first_frame_index: int
    last_frame_index: int
    message: str


@dataclass(frozen=True)
class VideoFacts:
    """What is in a video."""

    width: int
    """Pixels, as it is shown."""
    height: int
    """Pixels, as it is shown."""
    rotation_deg: int
    frame_count: int
    frame_count_exact: bool
    """True if every frame was decoded once."""
    duration_s: float
    average_fps: float
    variable_frame_rate: bool
    codec: str
    pixel_format: str
    bit_depth: int
    container: str
    audio_tracks: tuple[AudioTrack, ...]
    damage: tuple[DamagedSpan, ...]
    truncated: bool


@dataclass(frozen=True)
class StoredVideo:
    """A video of the library."""

    video_id: str
    name: str
    metadata: Mapping[str, object]
    """Whatever was kept with it."""
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    facts: VideoFacts
    source_job_id: str
    """The render job it came from; empty if it was uploaded."""
    create_time: datetime


@dataclass(frozen=True)
class StoredFrame:
    """One frame of a stored video."""

    image: RgbImage
    """`(H, W, 3)` uint8 RGB."""
    index: int
    time_s: float
    """When it is shown, from the first frame on."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job is."""

    phase: str
    """Such as `follow`; empty before it has begun."""
    done_frames: int
    """In this phase."""
    total_frames: int
    """In this phase."""
    frames_per_s: float
    left_s: float | None
    """Seconds until the job is finished; None: not known."""
    fraction: float
    """Of the whole job, 0..1; never falls."""
    checkpoint_frames: int
    """Frames that would not have to be done again if the worker died now."""


@dataclass(frozen=True)
class JobFile:
    """A file that a job made."""

    output_id: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class JobObject:
    """Something that a track job has found."""

    object_id: int
    label: str
    prompt: str
    """The words it answers; empty for an object by hand."""
    name: str
    """Whose face it is, once that is decided; else empty."""
    first_frame: int
    last_frame: int
    frame_count: int
    """Frames on which it has a mask, held ones too."""


@dataclass(frozen=True)
class FramesAtRisk:
    """Frames that somebody should look at, both ends included."""

    first_frame: int
    last_frame: int
    object_id: int
    """0: it is about no single object."""
    reason: RiskName
    message: str
    """Why, in words, with the figure."""


@dataclass(frozen=True)
class Job:
    """One job."""

    job_id: str
    kind: JobKindName
    state: JobStateName
    name: str
    video_id: str
    """The video it works on; empty for renders and exports, which name a track job."""
    progress: JobProgress
    error: KinemaskError | None
    """Why it failed."""
    files: tuple[JobFile, ...]
    """Once it has succeeded; not in lists."""
    attempts: int
    """Above 1 after a worker died."""
    worker: str
    create_time: datetime
    start_time: datetime | None
    finish_time: datetime | None
    objects: tuple[JobObject, ...] = ()
    """What a track job has found, once it has succeeded; not in lists."""
    at_risk: tuple[FramesAtRisk, ...] = ()
    """Where a track job is unsure, once it has succeeded, ascending; not in lists. Of a render its
    audit record tells it."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("succeeded", "failed", "cancelled")
