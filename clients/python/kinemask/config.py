"""How a stream is to be run, and what a live stream does with its frames.

Numbers left at None or 0 are the service's own defaults; a stream's `info` says what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from kinemask.types import MaskEncodingName, ServiceInfo

PolicyName: TypeAlias = Literal["block", "latest", "reject"]
EffectName: TypeAlias = Literal["blur", "pixelate", "solid", "outline", "dim", "overlay"]


@dataclass(frozen=True)
class StreamEvent:
    """Something that happened to a stream and that its caller need not act on."""

    kind: Literal["go_away", "lost", "resumed", "snapshot"]
    """The server leaves; it vanished; the stream goes on; its state is at hand up to a frame."""
    message: str
    last_frame_id: int | None = None
    """The last frame whose effect is in the state the stream goes on from."""
    resent_frames: int = 0
    """Frames that are sent again."""


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is to be run."""

    window: int = 0
    """Frames that may be unanswered. 0: the service's own."""
    policy: PolicyName = "block"
    """What happens beyond the window. block: `send` waits. latest: the oldest frame that no work
    has begun on is dropped. reject: the new frame is. Every drop is announced in its turn."""
    snapshot_every_n_frames: int = 0
    """Keep the stream's state at hand so often, to go on elsewhere when a server vanishes without
    a word; frames since the last one are kept to be sent again. 0: only servers that leave
    politely are survived."""
    resume_timeout_s: float = 30.0
    """How long to look for another server before the stream fails."""
    max_unread: int = 256
    """Answers that may wait to be read. Beyond, nothing more is read from the server, so that
    under `block` `send` waits too."""
    unread_timeout_s: float = 60.0
    """How long `send` waits for somebody to read answers before it gives up."""
    on_event: Callable[[StreamEvent], None] | None = None
    """Called in the stream's event loop; must not block. Events are logged too."""

    def __post_init__(self) -> None:
        if not 0 <= self.window <= 256:
            raise ValueError(f"window: expected 0..256, found {self.window}")
        if self.policy not in ("block", "latest", "reject"):
            raise ValueError(f"policy: expected block, latest or reject, found {self.policy!r}")
        if self.max_unread < 1:
            raise ValueError(f"max_unread: expected 1 or more, found {self.max_unread}")


@dataclass(frozen=True)
class DetectStage:
    """Finds objects by words."""

    prompts: Sequence[str] = ()
    """What to look for, such as "face" or "red car"."""
    classes: Sequence[str] = ()
    """Keep only these labels, for models of fixed classes."""
    every_n_frames: int = 0
    wait: bool = False
    """True: a frame that is detected on waits for it, so nothing appears late. For stored video."""
    score_threshold: float | None = None
    """0..1."""
    overlap_threshold: float | None = None
    """Of two detections that overlap by more than this IoU, the better stays: 0..1."""
    top_k: int = 0
    model: str = "auto"


@dataclass(frozen=True)
class TrackerParameters:
    """Numbers a tracking algorithm works with. None: the algorithm's own."""

    min_hits: int | None = None
    """Detections in a row that confirm a track, the first included."""
    max_lost_frames: int | None = None
    """Frames a lost track is kept."""
    high_score: float | None = None
    """Detections from this score on are matched first: 0..1."""
    low_score: float | None = None
    """Detections below this score are ignored: 0..1."""
    new_track_score: float | None = None
    """A track begins only from this score on: 0..1."""
    match_iou: float | None = None
    """Least IoU of a match: 0..1."""


@dataclass(frozen=True)
class TrackStage:
    """Keeps identities of detections."""

    algorithm: str = "auto"
    parameters: TrackerParameters = TrackerParameters()


@dataclass(frozen=True)
class SegmentStage:
    """Makes masks."""

    model: str = "auto"
    mask_encoding: MaskEncodingName = "rle"
    max_objects: int = 0
    """Objects that may be followed at once."""
    memory_policy: Literal["", "exact", "official"] = ""
    tier: Literal["", "exact", "fast"] = ""
    input_size_px: int = 0
    """Side of the square the model sees."""


@dataclass(frozen=True)
class FaceVotes:
    """How looks at a face over many frames become a name; what is 0 or None is the service's."""

    min_votes: int = 0
    """Votes a name needs: 1..100."""
    min_share: float | None = None
    """Share of the kept votes that it needs: 0..1."""
    max_votes: int = 0
    """Latest votes kept."""
    recheck_every_n_frames: int = 0
    """Frames after which a decided face is looked at again."""


@dataclass(frozen=True)
class FacesStage:
    """Gives faces names."""

    gallery_id: str
    threshold: float | None = None
    """Least cosine similarity of a match: -1..1."""
    budget_ms: int = 0
    """What a frame may spend on names."""
    model: str = "auto"
    min_margin: float | None = None
    """Least lead of the best match over the runner-up: 0..2. None: the model's own."""
    votes: FaceVotes | None = None
    """When a name is decided."""


@dataclass(frozen=True)
class CaptionStage:
    """Describes frames."""

    every_n_frames: int = 0
    model: str = "auto"


@dataclass(frozen=True)
class Effect:
    """What is drawn on every object's region."""

    name: EffectName | str
    intensity: float | None = None
    """0..1."""
    color_rgb: tuple[int, int, int] | None = None
    """0..255 each. None: one per object."""
    grow_px: int = 0
    """Pixels the region grows by on every side."""
    grow_fraction: float = 0.0
    """The same as a share of the longer side of the object's box: 0..2; added to `grow_px`."""
    region: Literal["mask", "box"] = "mask"


@dataclass(frozen=True)
class EffectStage:
    """Draws the result and sends the picture back as `LiveFrame.rendered`."""

    effects: Sequence[Effect]
    except_names: Sequence[str] = ()
    """Draw on everything but the objects of these names. Needs the faces stage."""
    only_names: Sequence[str] = ()
    jpeg_quality: int = 0
    """1..100."""


@dataclass(frozen=True)
class LiveConfig:
    """What a live stream does. A stage that is None costs nothing."""

    detect: DetectStage | None = None
    track: TrackStage | None = None
    """On by default where `detect` is set."""
    segment: SegmentStage | None = SegmentStage()
    faces: FacesStage | None = None
    caption: CaptionStage | None = None
    effect: EffectStage | None = None

    @classmethod
    def of(cls, prompts: Sequence[str] = (), effects: Sequence[Effect | str] = ()) -> LiveConfig:
        """Masks of what the words name, with these effects."""
        if isinstance(prompts, str):
            raise TypeError(f"prompts: expected a list of words, found the string {prompts!r}")
        drawn = [Effect(effect) if isinstance(effect, str) else effect for effect in effects]
        return cls(
            detect=DetectStage(prompts) if prompts else None,
            effect=EffectStage(drawn) if drawn else None,
        )


def live_config_of(
    wanted: LiveConfig | None, prompts: Sequence[str], effects: Sequence[Effect | str]
) -> LiveConfig:
    """`wanted`, or else what `LiveConfig.of` makes of the words.

    Raises:
        ValueError: both were given.
    """
    if wanted is None:
        return LiveConfig.of(prompts, effects)
    if prompts or effects:
        raise ValueError("expected either a LiveConfig or prompts and effects, found both")
    return wanted


@dataclass(frozen=True)
class EverythingOptions:
    """How `segment_everything` looks at a picture."""

    points_per_side: int = 0
    """Of the prompt grid."""
    score_threshold: float | None = None
    """Masks the model itself rates below this are left out: 0..1."""
    stability_threshold: float | None = None
    """Masks that change more than this when the cut-off moves are left out: 0..1."""
    overlap_threshold: float | None = None
    """Of two masks whose boxes overlap by more than this IoU the better stays: 0..1."""
    min_area_px: int = 0
    mask_encoding: MaskEncodingName = "rle"
    model: str = "auto"


@dataclass(frozen=True)
class CaptionOptions:
    """How `caption` describes a picture."""

    beams: int = 0
    """Of the search: 1 is greedy, which is the default."""
    max_tokens: int = 0
    """Most tokens of a caption. 0: 40."""
    min_tokens: int = 0
    text: str = ""
    """How the caption begins, a question, or a task word, for models that take one."""
    model: str = "auto"


@dataclass(frozen=True)
class VideoConfig:
    """What `segment_video` does."""

    model: str = "auto"
    mask_encoding: MaskEncodingName = "rle"
    memory_policy: Literal["", "exact", "official"] = ""
    tier: Literal["", "exact", "fast"] = ""
    input_size_px: int = 0
    """Side of the square the model sees."""
    retained_frames: int = 0
    """Recent frames that can still be prompted, or propagated over."""
    offload_retained_frames: bool = False
    """Keep them in host memory, where a device has too little."""
    max_conditioning_frames: int = 0
    """Prompted frames the model keeps attending to: at least 2."""
    max_objects: int = 0


@dataclass(frozen=True)
class StageService:
    """Who serves a stage of a live stream."""

    stage: str
    service: ServiceInfo | None
    reason: str = ""
    """Why the stage is down; empty if it is not."""


@dataclass(frozen=True)
class StreamInfo:
    """How a stream runs: what the server's first reply said."""

    window: int
    """Frames that may be unanswered."""
    policy: PolicyName
    service: ServiceInfo
    stages: tuple[StageService, ...] = ()
    edits: tuple[str, ...] = ()
    """Edits it takes, such as `propagate`; of segment streams."""


@dataclass(frozen=True)
class TlsConfig:
    """How to trust the server, and to be trusted. `tls=True` is `TlsConfig()`."""

    ca_pem: bytes | Path | None = None
    """Root certificates. None: the system's."""
    cert_pem: bytes | Path | None = None
    """The client's certificate chain, for mutual TLS."""
    key_pem: bytes | Path | None = None
    """Its key."""
    server_name: str | None = None
    """The name in the server's certificate, where it is not the address's."""
