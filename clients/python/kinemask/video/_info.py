"""Plain values about a video and one of its frames."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from kinemask.images import Image
from kinemask.video._color import ColorTags


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says about itself, its first frame decoded to be sure of it."""

    path: Path
    """The file."""
    width: int
    """Pixels, after the rotation is applied: the width of every frame's image."""
    height: int
    """Pixels, after the rotation is applied."""
    average_rate: Fraction | None
    """Frames per second on average over the file; None when the file does not say."""
    frame_count: int | None
    """Frames as the container counts them; None when it does not."""
    duration_s: float | None
    """Seconds; None when the file does not say."""
    time_base: Fraction
    """Seconds per unit of `VideoFrame.pts`."""
    has_audio: bool
    """Whether there is at least one audio stream."""
    rotation: int
    """Degrees that stored frames are turned clockwise for display: 0, 90, 180 or 270. Images are
    turned already."""
    codec: str
    """Of the video stream, as FFmpeg names it: h264, hevc, vp9."""
    pixel_aspect: Fraction
    """Width over height of one displayed pixel; 1 for square ones."""
    color: ColorTags
    """How the stored samples map to RGB, guessed from the size where the file does not say."""

    @property
    def fps(self) -> float | None:
        """`average_rate` as a number."""
        return None if self.average_rate is None else float(self.average_rate)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame."""

    index: int
    """0 for the first frame, without gaps."""
    pts: int
    """Presentation time in units of `VideoInfo.time_base`; strictly increasing."""
    duration: int | None
    """In units of `VideoInfo.time_base`; None when the file does not say."""
    time_s: float
    """Presentation time in seconds, on the file's own clock (the first may not be 0)."""
    image: Image
    """`(H, W, 3)` uint8 RGB, upright, and the receiver's own to change."""
