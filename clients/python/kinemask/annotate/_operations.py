"""The single calls on annotation sessions as operations, for either client to run.

What changes something carries an id by which the gateway knows a repeat again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from kinemask.annotate import _decode
from kinemask.annotate.types import (
    AnnotatedFrame,
    DirectionName,
    Overlay,
    Prompted,
    Session,
    SessionObject,
    SessionOptions,
)
from kinemask.client import _encode
from kinemask.client._calls import Operation, ResultT
from kinemask.config import Effect
from kinemask.types import Prompt
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1.annotations_pb2_grpc import AnnotationServiceStub
from kinemask.v1.videos_pb2 import FrameRange


def open_session(
    video_id: str, name: str, options: SessionOptions, track_job_id: str
) -> Operation[Session]:
    """CreateSession."""
    request = pb.CreateSessionRequest(
        video_id=video_id,
        display_name=name,
        options=pb.SessionOptions(
            model=options.model,
            input_size_px=options.input_size_px,
            max_objects=options.max_objects,
        ),
        track_job_id=track_job_id,
        request_id=_new_id(),
    )
    return _operation("CreateSession", request, lambda answer: _decode.session(answer.session))


def get(session_id: str) -> Operation[Session]:
    """GetSession."""
    request = pb.GetSessionRequest(session_id=session_id)
    return _operation("GetSession", request, lambda answer: _decode.session(answer.session))


def resume(session_id: str) -> Operation[Session]:
    """ResumeSession."""
    request = pb.ResumeSessionRequest(session_id=session_id)
    return _operation("ResumeSession", request, lambda answer: _decode.session(answer.session))


def close(session_id: str) -> Operation[None]:
    """DeleteSession."""
    request = pb.DeleteSessionRequest(session_id=session_id, request_id=_new_id())
    return _operation("DeleteSession", request, lambda answer: None)


def prompt(
    session_id: str, frame: int, prompts: Sequence[Prompt], label: str, replace: bool
) -> Operation[Prompted]:
    """AddPrompts."""
    request = pb.AddPromptsRequest(
        session_id=session_id,
        frame_index=frame,
        prompts=[_encode.prompt(one) for one in prompts],
        label=label,
        replace=replace,
        request_id=_new_id(),
    )
    return _operation("AddPrompts", request, _decode.prompted)


def clear(session_id: str, object_id: int, frame: int | None, masks: bool) -> Operation[int]:
    """ClearPrompts."""
    request = pb.ClearPromptsRequest(
        session_id=session_id,
        object_id=object_id,
        frame_index=frame,
        clear_masks=masks,
        request_id=_new_id(),
    )
    return _operation("ClearPrompts", request, lambda answer: int(answer.prompt_count))


def remove_prompts(
    session_id: str, prompt_ids: Sequence[int]
) -> Operation[tuple[AnnotatedFrame, ...]]:
    """RemovePrompts."""
    request = pb.RemovePromptsRequest(
        session_id=session_id, prompt_ids=prompt_ids, request_id=_new_id()
    )
    return _operation(
        "RemovePrompts", request, lambda answer: tuple(map(_decode.frame, answer.frames))
    )


def update_object(
    session_id: str, object_id: int, label: str | None, color: tuple[int, int, int] | None
) -> Operation[SessionObject]:
    """UpdateObject."""
    red, green, blue = color or (0, 0, 0)
    request = pb.UpdateObjectRequest(
        session_id=session_id,
        object_id=object_id,
        label=label,
        color_rgb=None if color is None else red << 16 | green << 8 | blue,
        request_id=_new_id(),
    )
    return _operation("UpdateObject", request, lambda answer: _decode.session_object(answer.object))


def remove_object(session_id: str, object_id: int) -> Operation[None]:
    """RemoveObject."""
    request = pb.RemoveObjectRequest(
        session_id=session_id, object_id=object_id, request_id=_new_id()
    )
    return _operation("RemoveObject", request, lambda answer: None)


def cancel(session_id: str) -> Operation[int]:
    """CancelPropagation."""
    request = pb.CancelPropagationRequest(session_id=session_id, request_id=_new_id())
    return _operation("CancelPropagation", request, lambda answer: int(answer.done_frames))


def overlay(
    session_id: str,
    frame: int,
    object_ids: Sequence[int],
    effects: Sequence[Effect | str],
    show_prompts: bool,
    max_side_px: int,
) -> Operation[Overlay]:
    """GetOverlay."""
    made = [Effect(effect) if isinstance(effect, str) else effect for effect in effects]
    request = pb.GetOverlayRequest(
        session_id=session_id,
        frame_index=frame,
        object_ids=object_ids,
        effects=[_encode.effect_message(effect) for effect in made],
        show_prompts=show_prompts,
        max_side_px=max_side_px,
    )
    return _operation("GetOverlay", request, _decode.overlay)


def page(method: str, request: Message) -> Operation[Any]:
    """ListSessions or ListPrompts: the answer as it came."""
    return _operation(method, request, lambda answer: answer)


def sessions_request(video_id: str) -> pb.ListSessionsRequest:
    """ListSessions' first page."""
    return pb.ListSessionsRequest(video_id=video_id)


def prompts_request(
    session_id: str, first: int | None, last: int | None, object_ids: Sequence[int]
) -> pb.ListPromptsRequest:
    """ListPrompts' first page."""
    return pb.ListPromptsRequest(
        session_id=session_id, range=_range(first, last), object_ids=object_ids
    )


def propagate_request(
    session_id: str,
    first: int | None,
    last: int | None,
    direction: DirectionName,
    object_ids: Sequence[int],
    only_stale: bool,
    include_masks: bool,
) -> pb.PropagateRequest:
    """Raises ValueError for a direction that there is not."""
    name = f"PROPAGATION_DIRECTION_{direction.upper()}"
    if name not in pb.PropagationDirection.keys():  # noqa: SIM118 - an enum's wrapper is no mapping
        raise ValueError(f"expected both, forwards or backwards, found {direction!r}")
    return pb.PropagateRequest(
        session_id=session_id,
        range=_range(first, last),
        direction=pb.PropagationDirection.Value(name),
        object_ids=object_ids,
        only_stale=only_stale,
        include_masks=include_masks,
    )


def masks_request(
    session_id: str, first: int | None, last: int | None, object_ids: Sequence[int]
) -> pb.GetMasksRequest:
    """GetMasks."""
    return pb.GetMasksRequest(
        session_id=session_id, range=_range(first, last), object_ids=object_ids
    )


def _operation(
    method: str, request: Message, decode: Callable[[Any], ResultT]
) -> Operation[ResultT]:
    return Operation(AnnotationServiceStub, method, request, lambda answer, _: decode(answer))


def _range(first: int | None, last: int | None) -> FrameRange | None:
    if first is None and last is None:
        return None
    return FrameRange(first_frame_index=first, last_frame_index=last)


def _new_id() -> str:
    return uuid.uuid4().hex
