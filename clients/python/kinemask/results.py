"""What calls and streams give back: one picture's or one frame's result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from kinemask._exports import CocoAnnotation, ExportRow, rows_to_coco, rows_to_supervision
from kinemask.types import (
    Detection,
    LiveObject,
    ObjectMask,
    ServiceInfo,
    Timing,
    TrackedBox,
)

if TYPE_CHECKING:
    import supervision  # type: ignore[import-not-found]  # an optional extra

    from kinemask.errors import KinemaskError
    from kinemask.types import BoolMask

_NO_TIMING = Timing()
_NO_SERVICE = ServiceInfo()

ItemT = TypeVar("ItemT")
MaskT = TypeVar("MaskT", bound=ObjectMask)


class Exportable(ABC):
    """What lists objects can be handed to other tools."""

    @abstractmethod
    def _rows(self) -> list[ExportRow]:
        """What there is to hand over; every result has its own."""

    def to_coco(
        self, image_id: int, class_ids: Mapping[str, int] | None = None
    ) -> list[CocoAnnotation]:
        """COCO result dicts of the objects that are there.

        Args:
            image_id: goes into every dict.
            class_ids: label to category id. Default: the sorted labels here, from 1.
        """
        return rows_to_coco(self._rows(), image_id, class_ids)

    def to_supervision(self, class_ids: Mapping[str, int] | None = None) -> supervision.Detections:
        """A `supervision.Detections` of the objects that are there.

        Args:
            class_ids: label to class id. Default: the sorted labels here, from 0; give a fixed
                mapping where ids must agree between frames.

        Raises:
            ImportError: supervision is not installed.
        """
        return rows_to_supervision(self._rows(), class_ids)


class Items(Sequence[ItemT], Exportable, Generic[ItemT]):
    """A result that is a sequence of what it lists."""

    items: tuple[ItemT, ...]

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ItemT, ...]: ...
    def __getitem__(self, index: int | slice) -> ItemT | tuple[ItemT, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.items)


@dataclass(frozen=True)
class Detections(Items[Detection]):
    """What was found in one picture, best first."""

    items: tuple[Detection, ...]
    width: int = 0
    """The picture's, in pixels."""
    height: int = 0
    timing: Timing = _NO_TIMING
    service: ServiceInfo = _NO_SERVICE
    error: KinemaskError | None = None
    """In a batch: why this picture could not be worked on."""

    def _rows(self) -> list[ExportRow]:
        return [ExportRow(d.box, d.score, d.label) for d in self.items]


@dataclass(frozen=True)
class Caption:
    """The words for one picture."""

    text: str
    score: float | None = None
    """Mean probability of its tokens: 0..1; None where the model does not say."""
    tokens: int = 0
    truncated: bool = False
    """True if it ended because `max_tokens` were reached."""
    timing: Timing = _NO_TIMING
    service: ServiceInfo = _NO_SERVICE
    error: KinemaskError | None = None
    """In a batch: why this picture could not be worked on."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Segmentation(Items[ObjectMask]):
    """Masks of one picture: the best one of each prompt, in the prompts' order."""

    items: tuple[ObjectMask, ...]
    candidates: tuple[tuple[ObjectMask, ...], ...] = ()
    """Every mask offered for each prompt, best first."""
    width: int = 0
    """The picture's, in pixels."""
    height: int = 0
    timing: Timing = _NO_TIMING
    service: ServiceInfo = _NO_SERVICE
    embedding_cached: bool = False
    """True if the picture's embedding was still there from an earlier call."""

    def _rows(self) -> list[ExportRow]:
        return mask_rows(self.items)


@dataclass(frozen=True)
class FrameAnswer:
    """The one answer to one frame: a result, an error, or that it was skipped.

    Streams give exactly one for each frame sent, in order, whatever happened to it: so results
    line up with frames, and code that ignores failures simply sees no objects on them.
    """

    frame_id: int
    capture_time_us: int = 0
    """As it was sent."""
    timing: Timing = _NO_TIMING
    error: KinemaskError | None = None
    """Why there is no result."""
    skipped: bool = False
    """True if no work was done on the frame: `error` is why (the stream's policy)."""

    @property
    def ok(self) -> bool:
        """True if there is a result."""
        return self.error is None


@dataclass(frozen=True)
class MaskFrame(FrameAnswer, Exportable, Generic[MaskT]):
    """A frame's answer that lists masks, ascending by object id."""

    objects: tuple[MaskT, ...] = ()
    width: int = 0
    """The frame's, in pixels; 0 if there is no result."""
    height: int = 0

    def __getitem__(self, object_id: int) -> MaskT:
        for found in self.objects:
            if found.object_id == object_id:
                return found
        raise KeyError(f"object {object_id}: expected one of {[o.object_id for o in self.objects]}")

    def mask_of(self, object_id: int) -> BoolMask:
        """`(H, W)` bool; nothing is true where the object is not there.

        Raises:
            KeyError: the object is not followed.
        """
        import numpy as np

        pixels = self[object_id].mask
        return np.zeros((self.height, self.width), np.bool_) if pixels is None else pixels

    def _rows(self) -> list[ExportRow]:
        return mask_rows(self.objects)


@dataclass(frozen=True)
class SegmentedFrame(MaskFrame[ObjectMask]):
    """A frame's answer from `segment_video`."""


@dataclass(frozen=True)
class StageReport:
    """How a stage did on one frame."""

    stage: str
    """detect, track, segment, faces, caption or effect."""
    total_ms: float
    timing: Timing
    degraded: KinemaskError | None = None
    """What is missing from this frame, and why."""
    source_frame_id: int | None = None
    """The frame whose result took effect now, where that is another one."""


@dataclass(frozen=True)
class LiveFrame(MaskFrame[LiveObject]):
    """A frame's answer from a live stream."""

    stages: tuple[StageReport, ...] = ()
    """Stages that had nothing to do on this frame are left out."""
    rendered: bytes = field(default=b"", repr=False)
    """A JPEG with the effects; empty without the effect stage."""
    caption: str = ""
    """The newest caption."""
    caption_frame_id: int | None = None
    """The frame the caption is of."""
    scene_cut: bool = False
    """True if a new shot begins here; objects that words found ended with the old one."""

    @property
    def degraded(self) -> Mapping[str, KinemaskError]:
        """Stage to what is wrong with it."""
        return {report.stage: report.degraded for report in self.stages if report.degraded}


@dataclass(frozen=True)
class TrackedFrame(FrameAnswer, Exportable):
    """A frame's answer from `track_boxes`."""

    tracks: tuple[TrackedBox, ...] = ()
    """Ascending by id."""
    ended_track_ids: tuple[int, ...] = ()
    """Tracks that ended on this frame; their ids do not come again."""

    def _rows(self) -> list[ExportRow]:
        return [ExportRow(t.box, t.score, t.label, t.track_id) for t in self.tracks]


def mask_rows(objects: Sequence[ObjectMask]) -> list[ExportRow]:
    """The rows of the objects that are there."""
    return [
        ExportRow(o.box, o.score, o.label, o.object_id, o.encoded)
        for o in objects
        if o.box is not None
    ]
