"""What a track job is to do, with every default filled in, and the stream that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.streams import Policy, StreamTerms

from kinemask_gateway.live.association import Rules
from kinemask_gateway.live.detecting import check_rhythm
from kinemask_gateway.live.objects import ObjectBook
from kinemask_gateway.live.rhythm import DEFAULT_EVERY_N_FRAMES, fill_in_rhythm
from kinemask_gateway.live.state import LiveState

DEFAULT_CHECKPOINT_EVERY_N_FRAMES = 100
_MAX_OBJECTS = 32
_FILL_FRAMES = 250
_GAP_FRAMES = 30
_MARGIN_FRAMES = 5
_GROW_PX_PER_FRAME = 1.0
_GROW_SHARE = 0.15
RISK_SCORE = 0.5
_MERGE_IOU = 0.7
_MATCH_IOU = 0.3
_DROP_AFTER_FRAMES = 60
_WINDOW = 16


def filled_in(asked: pb.TrackJobSpec, frame_count: int) -> pb.TrackJobSpec:
    """The spec as it holds for a video of so many frames; a filled-in one stays as it is.

    Raises:
        ServiceError: INVALID_ARGUMENT: the rhythm makes no sense.
    """
    spec = pb.TrackJobSpec()
    spec.CopyFrom(asked)
    wanted = spec.range
    wanted.first_frame_index = wanted.first_frame_index
    last = frame_count - 1
    wanted.last_frame_index = (
        min(wanted.last_frame_index, last) if wanted.HasField("last_frame_index") else last
    )
    if spec.HasField("detect"):
        _fill_in_detection(spec)
    spec.segment.max_objects = spec.segment.max_objects or _MAX_OBJECTS
    spec.segment.mask_encoding = media_pb2.MASK_ENCODING_RLE
    spec.backward_fill.max_frames = spec.backward_fill.max_frames or _FILL_FRAMES
    _fill_in_rules(spec)
    every = spec.checkpoint_every_n_frames or DEFAULT_CHECKPOINT_EVERY_N_FRAMES
    spec.checkpoint_every_n_frames = every
    return spec


def _fill_in_detection(spec: pb.TrackJobSpec) -> None:
    detect = spec.detect
    detect.every_n_frames = detect.every_n_frames or DEFAULT_EVERY_N_FRAMES
    detect.timing = live_pb2.DETECTION_TIMING_SYNC
    if not spec.HasField("adaptive"):
        spec.adaptive.CopyFrom(detect.adaptive)
    check_rhythm(spec.adaptive, "spec.adaptive")
    fill_in_rhythm(spec.adaptive, detect.every_n_frames)
    detect.adaptive.CopyFrom(spec.adaptive)
    spec.track.SetInParent()


def _fill_in_rules(spec: pb.TrackJobSpec) -> None:
    rules = spec.rules
    if not rules.HasField("merge_iou"):
        rules.merge_iou = _MERGE_IOU
    if not rules.HasField("match_iou"):
        rules.match_iou = _MATCH_IOU
    rules.drop_after_frames = rules.drop_after_frames or _DROP_AFTER_FRAMES
    if not spec.HasField("leak_guard"):
        return
    guard = spec.leak_guard
    guard.max_gap_frames = guard.max_gap_frames or _GAP_FRAMES
    if not guard.HasField("margin_frames"):
        guard.margin_frames = _MARGIN_FRAMES
    if not guard.HasField("grow_px_per_frame"):
        guard.grow_px_per_frame = _GROW_PX_PER_FRAME
    if not guard.HasField("grow_share"):
        guard.grow_share = _GROW_SHARE
    if not guard.HasField("risk_score"):
        guard.risk_score = RISK_SCORE


def stream_config(spec: pb.TrackJobSpec) -> live_pb2.StreamConfig:
    """The live stream that a filled-in spec asks for."""
    config = live_pb2.StreamConfig(segment=spec.segment)
    for stage in ("detect", "track", "faces"):
        if spec.HasField(stage):
            getattr(config, stage).CopyFrom(getattr(spec, stage))
    return config


def stream_terms(spec: pb.TrackJobSpec, state: bytes) -> StreamTerms:
    """Its terms; an empty state is that before the first frame."""
    if not state:
        # Objects that words find get ids that nobody has chosen.
        chosen = max((entry.prompt.object_id for entry in spec.prompts), default=0)
        state = LiveState(ObjectBook(next_object_id=chosen + 1)).to_bytes()
    return StreamTerms(
        kind="TrackJob",
        window=_WINDOW,
        policy=Policy.BLOCK,
        stall_timeout_s=0.0,
        snapshot_every_n_frames=0,
        config_digest="",
        state=state,
    )


def rules_of(spec: pb.TrackJobSpec) -> Rules:
    """The rules of a filled-in spec, as far as they hold while frames are followed."""
    frames = spec.rules.drop_after_frames
    return Rules(
        spec.rules.match_iou, left_after_frames=frames, false_alarm_frames=frames, rejoin=True
    )


def edits_of(spec: pb.TrackJobSpec) -> Mapping[int, Sequence[live_pb2.StreamEdit]]:
    """Prompts by hand, by the frame they are about."""
    found: dict[int, list[live_pb2.StreamEdit]] = {}
    for number, entry in enumerate(spec.prompts):
        edit = live_pb2.StreamEdit(
            edit_id=number + 1,
            frame_id=entry.frame_index,
            prompt=entry.prompt,
            label=entry.label,
        )
        found.setdefault(entry.frame_index, []).append(edit)
    return found


def check_places(spec: pb.TrackJobSpec) -> None:
    """Raises ServiceError INVALID_ARGUMENT for a prompt on a frame that is not worked on."""
    first, last = spec.range.first_frame_index, spec.range.last_frame_index
    for number, entry in enumerate(spec.prompts):
        if not first <= entry.frame_index <= last:
            what = f"expected a frame from {first} to {last}, got {entry.frame_index}"
            raise errors.invalid(f"spec.prompts[{number}].frame_index", what)
