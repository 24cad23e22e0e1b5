"""What annotation sessions answer, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from kinemask.errors import KinemaskError

if TYPE_CHECKING:
    from kinemask.types import ObjectMask, Prompt, RgbImage, ServiceInfo

SessionStateName = Literal["idle", "active", "propagating"]
DirectionName = Literal["both", "forwards", "backwards"]
FrameSpan = tuple[int, int]
"""First and last frame, both included."""


@dataclass(frozen=True)
class SessionOptions:
    """How a session's masks are made. 0 and empty: the service's own choice."""

    model: str = ""
    """The segmenter's. Empty: the best that is ready, and then for good."""
    input_size_px: int = 0
    """Side of the square that the model sees."""
    max_objects: int = 0
    """0: 64."""


@dataclass(frozen=True)
class SessionObject:
    """One object of a session."""

    object_id: int
    label: str
    color: tuple[int, int, int]
    """Red, green, blue; what it is drawn in."""
    prompted_frames: tuple[int, ...]
    """Ascending."""
    masked_frame_count: int
    """Frames it has a mask on, empty masks not counted."""


@dataclass(frozen=True)
class Session:
    """Interactive work on one video."""

    session_id: str
    video_id: str
    name: str
    state: SessionStateName
    """`idle`: stored only; it wakes when it is used."""
    options: SessionOptions
    objects: tuple[SessionObject, ...]
    """Ascending by id; not in lists."""
    revision: int
    """Rises with every change."""
    stale_frames: tuple[FrameSpan, ...]
    """Frames whose masks are older than the prompts that bear on them."""
    service: ServiceInfo | None
    """Who makes the masks; None while it is idle."""
    create_time: datetime
    use_time: datetime


@dataclass(frozen=True)
class SessionPrompt:
    """One prompt as it is stored."""

    prompt_id: int
    frame_index: int
    prompt: Prompt
    """With its object's id."""
    create_time: datetime


@dataclass(frozen=True)
class Prompted:
    """A frame after it was prompted."""

    prompts: tuple[SessionPrompt, ...]
    """Those that were given, in their order, with their objects' ids."""
    objects: tuple[ObjectMask, ...]
    """Every object's mask on the frame, ascending by id."""
    revision: int


@dataclass(frozen=True)
class AnnotatedFrame:
    """One frame's masks."""

    index: int
    time_s: float
    """When it is shown, from the video's first frame on."""
    objects: tuple[ObjectMask, ...]
    """Ascending by id."""
    stale: bool
    """True if its masks are older than the prompts that bear on them."""
    error: KinemaskError | None = None
    """Why it could not be worked on."""


@dataclass(frozen=True)
class PropagationProgress:
    """How far a propagation is."""

    propagation_id: int
    done_frames: int
    total_frames: int
    frames_per_s: float
    left_s: float | None
    """None: not known yet."""
    frame_index: int
    """The frame that was done last."""
    frame: AnnotatedFrame | None = field(repr=False)
    """Its masks, where they were asked for."""
    done: bool
    """True on the last one."""
    revision: int
    """The session's after it; on the last one only."""

    @property
    def fraction(self) -> float:
        """0..1."""
        return self.done_frames / self.total_frames if self.total_frames else 1.0


@dataclass(frozen=True)
class Overlay:
    """A frame with its masks drawn in."""

    jpeg: bytes = field(repr=False)
    width: int
    """Pixels."""
    height: int
    revision: int
    """The session's that it shows."""

    @property
    def image(self) -> RgbImage:
        """`(H, W, 3)` uint8 RGB, decoded at each call."""
        from kinemask.images import decode

        return decode(self.jpeg)
