"""What is known of a video, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime


@dataclass(frozen=True)
class AudioTrack:
    """One audio track."""

    codec: str
    channels: int
    sample_rate_hz: int
    language: str = ""
    """ISO 639-2; empty if unknown."""


@dataclass(frozen=True)
class DamagedSpan:
    """Frames that could not be decoded, both ends included."""

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
    """Clockwise: 0, 90, 180 or 270."""
    frame_count: int
    frame_count_exact: bool
    """True if every frame was decoded once; false if the container was believed."""
    duration_us: int
    average_fps: float
    variable_frame_rate: bool
    codec: str
    pixel_format: str
    bit_depth: int
    """Bits a component."""
    container: str
    audio_tracks: tuple[AudioTrack, ...] = ()
    damage: tuple[DamagedSpan, ...] = ()
    truncated: bool = False
    """True if the file ends before the container says."""


@dataclass(frozen=True)
class FileFacts:
    """What a file is."""

    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    """64 hexadecimal digits in lower case."""


@dataclass(frozen=True)
class Video:
    """A stored video."""

    video_id: str
    display_name: str
    metadata_json: str
    """An object as JSON; `{}` where the client keeps nothing."""
    file: FileFacts
    facts: VideoFacts
    source_job_id: str
    """The render job it came from; empty if it was uploaded."""
    owner_id: str
    create_time: datetime
    keys: VideoKeys = field(init=False)
    """Where its bytes are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", VideoKeys.of(self.video_id, self.file.file_name))

    def with_facts(self, facts: VideoFacts) -> Video:
        return replace(self, facts=facts)


@dataclass(frozen=True)
class VideoKeys:
    """The object keys of one video."""

    source: str
    index: str
    """Its `FrameIndex`."""
    thumbnail: str

    @classmethod
    def of(cls, video_id: str, file_name: str) -> VideoKeys:
        # FFmpeg looks at the ending of a name.
        _, dot, ending = file_name.rpartition(".")
        kept = f".{ending.lower()}" if dot and ending.isalnum() and len(ending) <= 5 else ""
        base = below(video_id)
        return cls(f"{base}/source{kept}", f"{base}/index", f"{base}/thumbnail.jpg")


def below(video_id: str) -> str:
    """The prefix of everything a video has in the object store."""
    return f"videos/{video_id}"
