"""The values the SDK takes and gives: boxes, prompts, detections, masks, who made them.

Coordinates are pixels of the original frame, x to the right, y down, max edges exclusive.
Masks travel encoded and are decoded when they are first looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    BoolMask: TypeAlias = NDArray[np.bool_]
    RgbImage: TypeAlias = NDArray[np.uint8]
    ImageLike: TypeAlias = RgbImage | bytes | str | PathLike[str]

BoxXyxy: TypeAlias = tuple[float, float, float, float]
"""`(x_min, y_min, x_max, y_max)` in pixels."""
PointXy: TypeAlias = tuple[float, float]
"""`(x, y)` in pixels."""
MaskEncodingName: TypeAlias = Literal["rle", "png", "bits", "none"]


class Box(NamedTuple):
    """A rectangle in pixels of the original frame; max edges are exclusive."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @property
    def width(self) -> float:
        return self.x_max - self.x_min

    @property
    def height(self) -> float:
        return self.y_max - self.y_min

    @property
    def area_px(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def center(self) -> PointXy:
        """`(x, y)`."""
        return (self.x_min + self.x_max) / 2, (self.y_min + self.y_max) / 2

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """`(x_min, y_min, width, height)`, as COCO writes boxes."""
        return self.x_min, self.y_min, self.width, self.height

    def iou(self, other: BoxXyxy) -> float:
        """Intersection over union: 0..1; 0 if both are empty."""
        x_min, y_min, x_max, y_max = other
        across = max(0.0, min(self.x_max, x_max) - max(self.x_min, x_min))
        down = max(0.0, min(self.y_max, y_max) - max(self.y_min, y_min))
        union = self.area_px + Box(*other).area_px - across * down
        return across * down / union if union > 0 else 0.0


@dataclass(frozen=True)
class Prompt:
    """What a user says about one object: at least one of points, box and mask."""

    points: Sequence[PointXy] = ()
    """Clicks on the object."""
    negative_points: Sequence[PointXy] = ()
    """Clicks beside it: "not this"."""
    box: BoxXyxy | None = None
    """A box around it."""
    mask: BoolMask | None = field(default=None, compare=False)
    """Its mask, `(H, W)` bool at the frame's size."""
    object_id: int = 0
    """Which object, from 1; the same id again refines it. 0: one that is not used yet."""
    label: str = ""
    """What to call it, in a live stream."""
    frame_id: int | None = None
    """In a stream, the frame it is about. None: the next one sent."""

    def __post_init__(self) -> None:
        if not self.points and not self.negative_points and self.box is None and self.mask is None:
            raise ValueError("a prompt: expected points, a box or a mask, found none of them")


@dataclass(frozen=True)
class StreamFrame:
    """A frame for `Client.track`, where the picture alone does not say enough."""

    image: ImageLike = field(repr=False)
    frame_id: int | None = None
    """Strictly increasing. None: one more than the last."""
    capture_time_us: int | None = None
    """Microseconds since the Unix epoch, or since the start of a stored video. None: now."""


@dataclass(frozen=True)
class EncodedMask:
    """A mask as it travelled."""

    width: int
    height: int
    encoding: Literal["rle", "png", "bits"]
    data: bytes = field(repr=False)

    @cached_property
    def pixels(self) -> BoolMask:
        """`(H, W)` bool, decoded once and read-only.

        Raises:
            ValueError: the data does not fit the size it names.
        """
        from kinemask import masks

        decode = {
            "rle": masks.decode_rle,
            "png": masks.decode_png_mask,
            "bits": masks.decode_packed,
        }[self.encoding]
        pixels: BoolMask = decode(self.data, self.height, self.width)
        pixels.flags.writeable = False
        return pixels

    @cached_property
    def rle(self) -> bytes:
        """COCO's compressed run lengths of it."""
        from kinemask import masks

        return self.data if self.encoding == "rle" else masks.encode_rle(self.pixels)

    @cached_property
    def area_px(self) -> int:
        """Pixels inside."""
        from kinemask import masks

        return masks.rle_area(self.rle, self.height, self.width)


@dataclass(frozen=True)
class ServiceInfo:
    """Who produced a result."""

    service: str = ""
    version: str = ""
    engine: str = ""
    """The engine that ran, such as `flow`."""
    model: str = ""
    revision: str = ""
    """The weights' pinned revision or SHA-256; `builtin` where there are none."""
    device: str = ""
    """Where it ran, such as `cpu` or `cuda:0`."""
    replica: str = ""
    """Host name and process id."""
    notice: str = ""
    """What there is to know of a choice made for the caller; empty: nothing."""


@dataclass(frozen=True)
class ModelInfo:
    """One model a service can run."""

    name: str
    engine: str = ""
    revision: str = ""
    ready: bool = False
    reason: str = ""
    """If not ready: why, and the command that changes it."""
    license: str = ""
    is_default: bool = False
    classes: tuple[str, ...] = ()
    """What it can find, for a closed set of classes."""
    edits: tuple[str, ...] = ()
    """Edits a stream of it takes, such as `propagate`; of segmenters."""


@dataclass(frozen=True)
class ServiceStatus:
    """One service behind the gateway."""

    service: str
    addresses: tuple[str, ...]
    serving: bool
    models: tuple[ModelInfo, ...]
    reason: str
    """Why it is not serving."""


@dataclass(frozen=True)
class Services:
    """What `Client.services` gives."""

    gateway: ServiceInfo
    services: tuple[ServiceStatus, ...]

    def __getitem__(self, service: str) -> ServiceStatus:
        for status in self.services:
            if status.service == service:
                return status
        raise KeyError(f"{service}: expected one of {[s.service for s in self.services]}")


@dataclass(frozen=True)
class Timing:
    """Milliseconds spent on one frame or request."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    infer_ms: float = 0.0
    encode_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        return self.queue_ms + self.decode_ms + self.infer_ms + self.encode_ms


class TrackState(Enum):
    """How sure a track is."""

    UNSPECIFIED = 0
    TENTATIVE = 1
    """Seen too seldom to be sure."""
    CONFIRMED = 2
    """Sure, and seen on this frame."""
    LOST = 3
    """Not seen on this frame; its box is where it is expected."""


@dataclass(frozen=True)
class Detection:
    """One thing in one picture."""

    box: Box
    score: float
    """Confidence: 0..1."""
    label: str = ""
    """What the model calls it."""
    prompt: str = ""
    """The prompt it answers, as it was sent."""


@dataclass(frozen=True)
class ObjectMask:
    """One object's mask."""

    object_id: int
    score: float
    """Confidence that the mask is right and the object there: 0..1."""
    box: Box | None
    """The mask's tight box; None if the object is not there."""
    area_px: int
    encoded: EncodedMask | None = None
    """The mask as it came; None if masks were not asked for or the object is not there."""
    label: str = ""

    @property
    def mask(self) -> BoolMask | None:
        """`(H, W)` bool, decoded once, read-only; None where `encoded` is."""
        return None if self.encoded is None else self.encoded.pixels


@dataclass(frozen=True)
class ObjectName:
    """A name for an object."""

    person_id: str
    name: str
    similarity: float
    """Cosine similarity of the best sample: -1..1."""
    decided: bool
    """True once enough frames agreed."""


@dataclass(frozen=True)
class LiveObject(ObjectMask):
    """One object on one frame of a live stream."""

    prompt: str = ""
    """The words it answers; empty for objects prompted by hand."""
    state: TrackState = TrackState.UNSPECIFIED
    name: ObjectName | None = None
    """Its name, with the faces stage."""


@dataclass(frozen=True)
class TrackedBox:
    """One object on one frame of a track stream."""

    track_id: int
    """Never reused within a stream; from 1."""
    box: Box
    score: float
    label: str = ""
    prompt: str = ""
    state: TrackState = TrackState.UNSPECIFIED
    detection_index: int | None = None
    """Index of the detection it was matched with on this frame."""
    frames_since_seen: int = 0


@dataclass(frozen=True)
class Observation:
    """A box whose identity is already certain, such as that of a mask carried forward."""

    track_id: int
    box: BoxXyxy
    score: float = 1.0
