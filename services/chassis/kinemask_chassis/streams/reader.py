"""Takes a stream's frames and edits in, and stops where a bound is reached."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Generic

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers
from kinemask_chassis.streams.edits import MAX_EDIT_BYTES, MAX_EDITS, PendingEdit
from kinemask_chassis.streams.handler import EditT, FrameT, PreparedT, RawT, StreamObserver
from kinemask_chassis.streams.state import MAX_UNSENT, StreamState, Work
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.streams.worker import Worker
from kinemask_chassis.validation import violations

_MAX_FRAME_ID = 2**63 - 1
"""Engines keep ids in signed 64-bit arrays."""


class Reader(Generic[FrameT, EditT, PreparedT, RawT]):
    """The reading task."""

    def __init__(
        self,
        state: StreamState[FrameT, EditT, PreparedT],
        terms: StreamTerms,
        answers: Answers,
        worker: Worker[FrameT, EditT, PreparedT, RawT],
        observer: StreamObserver,
    ) -> None:
        self._state = state
        self._blocks = terms.blocks
        self._answers = answers
        self._worker = worker
        self._observer = observer

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Read to the client's end; while draining, what comes is thrown away.

        Raises:
            ServiceError: the client broke the contract.
        """
        state = self._state
        async for request in requests:
            if not state.draining:
                self._take(request)
                state.signal.changed()
            await state.signal.until(lambda: state.draining or self._has_room())
        state.input_over = True
        state.signal.changed()

    def _has_room(self) -> bool:
        window_open = not self._state.queue.full or not self._blocks
        return window_open and self._state.unsent < MAX_UNSENT

    def _take(self, request: Any) -> None:
        kind = request.WhichOneof("message")
        if kind == "frame":
            self._take_frame(request.frame)
        elif kind == "edit":
            self._take_edit(request.edit)
        elif kind == "snapshot":
            self._state.snapshot_after = self._state.last_read
        else:
            found = "a second config" if kind == "config" else "nothing"
            raise errors.invalid(
                "message",
                f"expected frame, edit or snapshot, found {found}",
                reason="FRAME_OR_EDIT_EXPECTED",
            )

    def _take_frame(self, frame: FrameT) -> None:
        frame_id: int = frame.frame_id  # type: ignore[attr-defined]  # every frame message has one
        self._check_order(frame_id)
        self._state.last_read = frame_id
        self._observer.frames_in(1)
        entry, skipped = self._state.queue.offer(frame_id, Work(frame, time.monotonic()))
        self._observer.frames_dropped(skipped)
        if entry is None:
            return
        if problems := violations(frame):
            self._worker.refuse(entry, errors.invalid_fields(problems))
        self._worker.start_waiting()

    def _check_order(self, frame_id: int) -> None:
        if frame_id > _MAX_FRAME_ID:
            raise errors.invalid(
                "frame.frame_id", f"expected at most {_MAX_FRAME_ID}, found {frame_id}"
            )
        if frame_id > self._state.last_read:
            return
        raise errors.invalid(
            "frame.frame_id",
            f"expected more than {self._state.last_read}, found {frame_id}: ids increase strictly",
            reason="FRAME_ID_NOT_INCREASING",
        )

    def _take_edit(self, edit: EditT) -> None:
        state = self._state
        named: int | None = edit.frame_id if edit.HasField("frame_id") else None  # type: ignore[attr-defined]  # every edit message has one
        pending = PendingEdit(edit, named, state.last_read)
        if problems := violations(edit):
            self._refuse(pending, errors.invalid_fields(problems))
        elif not state.edits.add(pending, state.last_stepped):
            why = (
                f"{len(state.edits)} edits wait for their frames; expected no more than "
                f"{MAX_EDITS}, and {MAX_EDIT_BYTES} bytes in all"
            )
            self._refuse(pending, errors.exhausted(why, reason="TOO_MANY_EDITS"))

    def _refuse(self, pending: PendingEdit[EditT], error: errors.ServiceError) -> None:
        self._state.side.append(self._answers.refusal(pending.edit, pending.frame_id, error))
