"""What to render and export, and how it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import Message

from kinemask.client._encode import effect_message
from kinemask.config import Effect
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import videos_pb2

ExportFormatName = Literal["coco", "youtube-vis", "mot", "png", "csv"]

FORMATS: dict[ExportFormatName, pb.ExportFormat.ValueType] = {
    "coco": pb.EXPORT_FORMAT_COCO_VIDEO,
    "youtube-vis": pb.EXPORT_FORMAT_YOUTUBE_VIS,
    "mot": pb.EXPORT_FORMAT_MOT_CHALLENGE,
    "png": pb.EXPORT_FORMAT_PNG_MASKS,
    "csv": pb.EXPORT_FORMAT_CSV_TRACKS,
}


@dataclass(frozen=True)
class RenderRule:
    """What is drawn on which objects: those in all lists that are not empty."""

    effects: Sequence[Effect | str]
    """One after another; besides those of live streams, `cutout` (everything else becomes the
    effect's colour) and `desaturate` (everything else loses its colour)."""
    object_ids: Sequence[int] = ()
    prompts: Sequence[str] = ()
    """Objects that answer these words."""
    only_names: Sequence[str] = ()
    """Objects of these names, and those of whom nobody knows who they are."""
    except_names: Sequence[str] = ()
    """Not these, once it is known who they are."""
    feather_px: int = 0
    """Pixels over which an effect fades out around its region."""
    show_labels: bool = False
    """Draw names, labels and ids too."""


@dataclass(frozen=True)
class RenderOptions:
    """How a render is written."""

    first_frame: int | None = None
    """From 0. None: the first that was tracked."""
    last_frame: int | None = None
    """Included. None: the last that was tracked."""
    audio: bool = True
    crf: int = 0
    """x264's constant rate factor, 1 (best) to 51. 0: 20."""
    max_side_px: int = 0
    """Make the picture smaller until no side is longer. 0: as the source."""
    add_to_library: bool = False


@dataclass(frozen=True)
class ExportOptions:
    """What of the tracks is written."""

    first_frame: int | None = None
    last_frame: int | None = None
    """Included."""
    object_ids: Sequence[int] = ()
    prompts: Sequence[str] = ()
    min_score: float = 0.0
    """Leave out objects on frames where their score is lower: 0..1."""
    omit_leak_guard: bool = False
    """Leave out masks that only hold a place."""


def render_request(
    source: pb.TrackSource, rules: Sequence[RenderRule], options: RenderOptions, name: str
) -> pb.CreateRenderJobRequest:
    spec = pb.RenderJobSpec(
        source=source,
        rules=[_rule(rule) for rule in rules],
        range=_range(options.first_frame, options.last_frame),
        audio=pb.AUDIO_POLICY_KEEP if options.audio else pb.AUDIO_POLICY_STRIP,
        crf=options.crf,
        max_side_px=options.max_side_px,
        add_to_library=options.add_to_library,
    )
    return pb.CreateRenderJobRequest(spec=spec, display_name=name)


def export_request(
    source: pb.TrackSource, kind: ExportFormatName, options: ExportOptions, name: str
) -> pb.CreateExportJobRequest:
    """Raises ValueError for an unknown format; the message lists those there are."""
    if kind not in FORMATS:
        raise ValueError(f"expected a format of {', '.join(FORMATS)}, found {kind!r}")
    spec = pb.ExportJobSpec(
        source=source,
        format=FORMATS[kind],
        range=_range(options.first_frame, options.last_frame),
        object_ids=options.object_ids,
        prompts=options.prompts,
        min_score=options.min_score,
        omit_leak_guard=options.omit_leak_guard,
    )
    return pb.CreateExportJobRequest(spec=spec, display_name=name)


def track_source(source_id: str, from_session: bool) -> pb.TrackSource:
    """A track job, or an annotation session."""
    if from_session:
        return pb.TrackSource(session_id=source_id)
    return pb.TrackSource(track_job_id=source_id)


def content_id(request: Message) -> str:
    """The same for requests of the same content: who asks again is given the same job."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()


def _rule(rule: RenderRule) -> pb.RenderRule:
    made = [Effect(effect) if isinstance(effect, str) else effect for effect in rule.effects]
    return pb.RenderRule(
        effects=[effect_message(effect) for effect in made],
        object_ids=rule.object_ids,
        prompts=rule.prompts,
        only_names=rule.only_names,
        except_names=rule.except_names,
        feather_px=rule.feather_px,
        show_labels=rule.show_labels,
    )


def _range(first: int | None, last: int | None) -> videos_pb2.FrameRange | None:
    if first is None and last is None:
        return None
    return videos_pb2.FrameRange(first_frame_index=first, last_frame_index=last)
