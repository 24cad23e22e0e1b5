"""What every segmentation engine looks like to the servicer.

A model sits behind three steps, so that only the middle one holds the device:
`prepare` (any thread) -> `step` (one at a time per stream, in frame order) -> `finish` (any
thread).
Coordinates are pixels of the original frame, origin at the top left corner, x to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.everything import EverythingOptions

Image = NDArray[np.uint8]
"""`(H, W, 3)` uint8 RGB."""
BoolMask = NDArray[np.bool_]
"""`(H, W)` bool, True inside the object."""

PreparedT = TypeVar("PreparedT")
RawT = TypeVar("RawT")


@dataclass(frozen=True)
class Prompt:
    """What a user says about one object on one frame: points, a box, a mask, or a mixture.

    A prompt for an object that is already followed refines it: the new points join those given
    earlier for that frame, a box or a mask replaces what stood before.
    """

    object_id: int
    """Positive; chosen by the caller, unique within the stream."""
    points_xy: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """`(N, 2)` float32 pixels."""
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """`(N,)` bool: True for a point on the object, False for one beside it."""
    box_xyxy: tuple[float, float, float, float] | None = None
    mask: BoolMask | None = None


@dataclass(frozen=True)
class ObjectMask:
    """One object on one frame.

    An object that has left, or is hidden, has an empty mask, no box and a low score.
    """

    object_id: int
    mask: BoolMask
    score: float
    """Confidence in 0..1 that the mask is right and the object is there."""
    box_xyxy: tuple[float, float, float, float] | None
    """Tight box of the mask; x_max and y_max lie one past the last pixel."""
    area_px: int


@dataclass(frozen=True)
class ImageMasks:
    """What prompts on one picture gave."""

    candidates: list[list[ObjectMask]]
    """For each prompt its masks, best first."""
    embedding_cached: bool = False
    """True if the picture's embedding was still there from an earlier call."""


@dataclass(frozen=True)
class EngineInfo:
    """What ran: named in every stream's first reply."""

    engine: str
    """The family, such as `flow` or `sam2`."""
    model: str
    revision: str
    device: str
    retained_frames: int
    """How many recent frames can still be prompted."""
    name: str
    """The word a client may ask for, such as `flow` or `sam2.1-hiera-tiny`."""
    edits: tuple[str, ...] = ("prompt", "remove", "clear")
    """Edits its streams take, named as the actions of SegmentVideoEdit."""
    notice: str = ""
    """What clients should know of how it runs; empty: nothing."""


@dataclass(frozen=True)
class StreamOptions:
    """What a client may wish of one stream; None leaves it to the engine."""

    official_memory: bool = False
    """Forget corrections as the official predictor does."""
    fast: bool | None = None
    """Reorder the arithmetic where that is quicker; False: bit for bit."""
    input_size_px: int | None = None
    retained_frames: int | None = None
    max_conditioning: int | None = None
    fill_hole_area_px: int | None = None
    offload_retained: bool = False
    """Keep retained frames in host memory."""


class FrameGoneError(LookupError):
    """A prompt names a frame that is not retained any more (or was never seen)."""

    def __init__(self, frame_id: int, retained: Sequence[int], window: int | None = None) -> None:
        """`window` is how many frames the stream retains at most."""
        self.frame_id = frame_id
        self.retained = tuple(retained)
        self.window = window
        span = f"{self.retained[0]}..{self.retained[-1]}" if self.retained else "none"
        super().__init__(
            f"frame {frame_id} is not retained; frames that can be prompted: {span} "
            f"(window: {window if window is not None else len(self.retained)} frames)"
        )


class SegmenterStream(Protocol, Generic[PreparedT, RawT]):
    """One video's state. The caller never runs two `step`s of a stream at once."""

    def prepare(self, image: Image) -> PreparedT:
        """Resize, convert and whatever else needs no state. Any thread."""
        ...

    async def step(self, frame_id: int, prepared: PreparedT, prompts: Sequence[Prompt]) -> RawT:
        """Take the next frame: prompts on it first, then every followed object's mask.

        Frame ids must increase. All frames of a stream have one size.
        """
        ...

    def finish(self, raw: RawT) -> list[ObjectMask]:
        """Masks at the original size, ordered by object id. Any thread."""
        ...

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        """Prompt a recent frame and carry the objects forward to now; the next step shows them.

        Raises:
            FrameGoneError: the frame is not among those retained.
        """
        ...

    def remove(self, object_id: int) -> bool:
        """Forget an object. False if there was none of that id. Other objects do not change."""
        ...

    def object_ids(self) -> tuple[int, ...]:
        """Objects followed now, ascending."""
        ...

    async def snapshot(self) -> bytes:
        """The whole state as an opaque, versioned, checksummed blob."""
        ...

    def close(self) -> None:
        """Free what the stream holds. Idempotent."""
        ...


AnyStream: TypeAlias = "SegmenterStream[Any, Any]"
"""A stream to whoever only passes on what it prepares and steps."""


class SegmenterEngine(Protocol):
    """One loaded model that serves many streams and single images."""

    @property
    def info(self) -> EngineInfo: ...

    def warm_up(self) -> None:
        """Pay every first-call cost now. Blocking."""
        ...

    def options(self, wished: StreamOptions) -> StreamOptions:
        """What holds where that is wished, defaults filled in.

        Raises:
            ValueError: the engine cannot; says what was expected.
        """
        ...

    def open_stream(
        self,
        height: int,
        width: int,
        snapshot: bytes | None = None,
        options: StreamOptions | None = None,
    ) -> AnyStream:
        """A new stream for frames of this size, or one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is damaged, of another version, engine or frame size.
        """
        ...

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        """Up to `candidates` masks per prompt, prompts in order."""
        ...

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        """Every mask of the picture, largest first, ids from 1.

        Raises:
            NotImplementedError: the engine only segments what is prompted.
        """
        ...

    def close(self) -> None: ...
