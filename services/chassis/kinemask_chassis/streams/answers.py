"""The server's messages of a stream, whatever its rpc."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2
from kinemask.v1 import media_pb2, streams_pb2

from kinemask_chassis import errors
from kinemask_chassis.streams.queue import SkipRun
from kinemask_chassis.streams.state import Entry, Work
from kinemask_chassis.streams.terms import StreamTerms

ResponseType = Callable[..., Message]
"""The rpc's response message: one oneof with started, result, error, skipped, edit, ..."""


class Answers:
    """Builds what is sent. Exceptions become statuses here."""

    def __init__(self, response_type: ResponseType, terms: StreamTerms) -> None:
        self._response = response_type
        self._terms = terms

    def result(self, entry: Entry[Any, Any], result: Message, encode_s: float) -> Message:
        """A frame's result, its timing filled in."""
        message: Any = result
        # A detector's result has it one level down, as in its unary replies.
        timed = message if "timing" in result.DESCRIPTOR.fields_by_name else message.detections
        own = _timing(entry.frame, encode_s)
        if timed.HasField("timing"):
            # A handler that only waited for others has said where the time went.
            timed.timing.queue_ms += own.queue_ms
        else:
            timed.timing.CopyFrom(own)
        return self._response(result=result)

    def error(self, entry: Entry[Any, Any], error: Exception) -> Message:
        """A frame that could not be worked on."""
        message = streams_pb2.FrameError(
            frame_id=entry.frame_id,
            # A sample that is enrolled has no such time.
            capture_time_us=getattr(entry.frame.frame, "capture_time_us", 0),
            status=errors.status_from_exception(error),
            timing=_timing(entry.frame, 0.0),
        )
        return self._response(error=message)

    def skipped(self, run: SkipRun) -> Message:
        return self._response(skipped=self._terms.skipped(run))

    def edit(self, edit: Any, frame_id: int, object_id: int) -> Message:
        """An edit that was applied."""
        return self._edit(edit, frame_id, object_id, None)

    def refusal(self, edit: Any, frame_id: int | None, error: Exception) -> Message:
        """An edit that was not."""
        return self._edit(edit, frame_id or 0, 0, errors.status_from_exception(error))

    def walked(self, step: Message) -> Message:
        """One step of a walk."""
        return self._response(propagated=step)

    def snapshot(self, state: bytes, frame_id: int) -> Message:
        token = self._terms.seal(state, frame_id)
        return self._response(
            snapshot=streams_pb2.StreamSnapshot(frame_id=frame_id, resume_token=token)
        )

    def go_away(self, state: bytes | None, last_told: int, linger_s: float) -> Message:
        """Without state (nothing was stepped) the client starts afresh."""
        message = streams_pb2.GoAway()
        message.deadline.FromMilliseconds(int(linger_s * 1e3))
        if last_told >= 0:
            message.last_frame_id = last_told
        if state is not None:
            message.resume_token = self._terms.seal(state, last_told)
        return self._response(go_away=message)

    def _edit(
        self, edit: Any, frame_id: int, object_id: int, status: status_pb2.Status | None
    ) -> Message:
        return self._response(
            edit=streams_pb2.EditResult(
                edit_id=edit.edit_id, frame_id=frame_id, object_id=object_id, status=status
            )
        )


def _timing(work: Work[Any, Any], encode_s: float) -> media_pb2.Timing:
    until_stepped_s = (work.stepped_s or time.monotonic()) - work.received_s
    queue_s = max(0.0, until_stepped_s - work.decode_s - work.infer_s)
    return media_pb2.Timing(
        queue_ms=queue_s * 1e3,
        decode_ms=work.decode_s * 1e3,
        infer_ms=work.infer_s * 1e3,
        encode_ms=encode_s * 1e3,
    )
