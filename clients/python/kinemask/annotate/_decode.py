"""From the messages of annotations.proto to plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from google.protobuf import timestamp_pb2

from kinemask import wire
from kinemask.annotate.types import (
    AnnotatedFrame,
    Overlay,
    Prompted,
    PropagationProgress,
    Session,
    SessionObject,
    SessionOptions,
    SessionPrompt,
    SessionStateName,
)
from kinemask.client._decode import failure, object_mask, service_info
from kinemask.types import Prompt
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import segmenter_pb2


def session(message: pb.Session) -> Session:
    options = message.options
    return Session(
        session_id=message.session_id,
        video_id=message.video_id,
        name=message.display_name,
        state=cast(
            SessionStateName,
            pb.SessionState.Name(message.state).removeprefix("SESSION_STATE_").lower(),
        ),
        options=SessionOptions(options.model, options.input_size_px, options.max_objects),
        objects=tuple(map(session_object, message.objects)),
        revision=message.revision,
        stale_frames=tuple(
            (span.first_frame_index, span.last_frame_index) for span in message.stale_frames
        ),
        service=service_info(message.service) if message.HasField("service") else None,
        create_time=_time(message.create_time),
        use_time=_time(message.use_time),
    )


def session_object(message: pb.SessionObject) -> SessionObject:
    color = message.color_rgb
    return SessionObject(
        object_id=message.object_id,
        label=message.label,
        color=(color >> 16, color >> 8 & 255, color & 255),
        prompted_frames=tuple(message.prompted_frame_indices),
        masked_frame_count=message.masked_frame_count,
    )


def session_prompt(message: pb.SessionPrompt) -> SessionPrompt:
    return SessionPrompt(
        prompt_id=message.prompt_id,
        frame_index=message.frame_index,
        prompt=_prompt(message.prompt),
        create_time=_time(message.create_time),
    )


def prompted(message: pb.AddPromptsResponse) -> Prompted:
    return Prompted(
        prompts=tuple(map(session_prompt, message.prompts)),
        objects=tuple(map(object_mask, message.objects)),
        revision=message.revision,
    )


def frame(message: pb.SessionFrame) -> AnnotatedFrame:
    return AnnotatedFrame(
        index=message.frame_index,
        time_s=message.time_us / 1e6,
        objects=tuple(map(object_mask, message.objects)),
        stale=message.stale,
        error=failure(message.error) if message.HasField("error") else None,
    )


def progress(message: pb.PropagateResponse) -> PropagationProgress:
    return PropagationProgress(
        propagation_id=message.propagation_id,
        done_frames=message.done_frames,
        total_frames=message.total_frames,
        frames_per_s=message.frames_per_s,
        left_s=message.left_s if message.HasField("left_s") else None,
        frame_index=message.frame_index,
        frame=frame(message.frame) if message.HasField("frame") else None,
        done=message.done,
        revision=message.revision,
    )


def overlay(message: pb.GetOverlayResponse) -> Overlay:
    return Overlay(message.jpeg, message.width, message.height, message.revision)


def _prompt(message: segmenter_pb2.ObjectPrompt) -> Prompt:
    return Prompt(
        points=[(point.x, point.y) for point in message.points if not point.negative],
        negative_points=[(point.x, point.y) for point in message.points if point.negative],
        box=wire.box_from_message(message.box) if message.HasField("box") else None,
        mask=wire.mask_from_message(message.mask) if message.HasField("mask") else None,
        object_id=message.object_id,
    )


def _time(message: timestamp_pb2.Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
