"""What may be asked about a picture, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinemask.config import CaptionOptions, DetectStage, Effect, EverythingOptions
from kinemask.errors import KinemaskError
from kinemask.faces.types import RecognisedFace
from kinemask.results import Caption, Detections, Segmentation
from kinemask.types import Detection, MaskEncodingName, ObjectMask, Prompt, ServiceInfo, Timing

_NO_TIMING = Timing()


@dataclass(frozen=True)
class StoredPicture:
    """A frame of a stored video: by index, by time, or any. At most one of the three is set."""

    video_id: str
    index: int | None = None
    time_s: float | None = None
    seed: int | None = None
    """Picks the same random frame again."""

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.index, self.time_s, self.seed)) > 1:
            raise ValueError("expected one of index, time_s and seed, found several")


@dataclass(frozen=True)
class AnalyzeOptions:
    """Which parts to answer. Those left out cost nothing; at least one is needed.

    Of a DetectStage, what is about streams (`every_n_frames`, `wait`) is of no use here.
    """

    detect: DetectStage | None = None
    """Boxes from words."""
    prompts: Sequence[Prompt] = ()
    """Masks of what is prompted."""
    instances: DetectStage | None = None
    """Masks of what is detected."""
    everything: EverythingOptions | None = None
    """Masks of everything; its mask_encoding is not used."""
    object_label: str = ""
    """The mask of the one thing of this label ..."""
    object_rank: int = 0
    """... best first, from 0."""
    faces: bool = False
    """Faces, without names."""
    gallery_id: str = ""
    """Faces with names from this gallery."""
    caption: CaptionOptions | None = None
    annotate: bool = False
    """The picture with the answers drawn in, as a JPEG."""
    effects: Sequence[Effect | str] = ()
    """What is drawn on each mask. Default: overlay, then outline."""
    segment_model: str = "auto"
    mask_encoding: MaskEncodingName = "rle"


@dataclass(frozen=True)
class Instance:
    """One detected thing and its mask."""

    detection: Detection
    mask: ObjectMask


@dataclass(frozen=True)
class Analysis:
    """The answers. A part that was not asked for, or that failed, is None or empty."""

    width: int
    """The picture's, in pixels."""
    height: int
    detections: Detections | None = None
    prompted: Segmentation | None = None
    instances: tuple[Instance, ...] = ()
    """Best first."""
    everything: Segmentation | None = None
    object: Instance | None = None
    """None too where there is no such thing."""
    faces: tuple[RecognisedFace, ...] = ()
    """Largest first; without a gallery nobody is decided on."""
    caption: Caption | None = None
    annotated: bytes = field(default=b"", repr=False)
    """A JPEG."""
    errors: Mapping[str, KinemaskError] = field(default_factory=dict)
    """detect, segment, instances, everything, object, faces, caption: why it could not be done."""
    services: Mapping[str, ServiceInfo] = field(default_factory=dict)
    """Who answered, by the service's name."""
    frame_index: int | None = None
    """Of a stored video: which frame it was."""
    time_s: float | None = None
    """When that is shown, from the video's start."""
    timing: Timing = _NO_TIMING
