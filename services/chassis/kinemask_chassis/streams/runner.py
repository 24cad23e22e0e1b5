"""Runs one bidirectional stream by the contract in streams.proto.

Three tasks share a queue: the reader takes frames and edits in, the worker steps frames in order
(with `prepare` running ahead and `finish` trailing), the writer tells the client. Nothing here
grows with what a client does: frames are bounded by the window, edits and their answers by
constants, and the reader stops where a bound is reached.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from google.protobuf.message import Message
from google.rpc import status_pb2
from kinemask.v1 import media_pb2, streams_pb2

from kinemask_chassis import errors
from kinemask_chassis.streams.edits import EditBook, PendingEdit
from kinemask_chassis.streams.handler import (
    EditT,
    FrameT,
    PreparedT,
    RawT,
    StreamHandler,
    StreamObserver,
)
from kinemask_chassis.streams.queue import EntryState, FrameEntry, FrameQueue, SkipRun
from kinemask_chassis.streams.signal import Signal
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.validation import violations

Send = Callable[[Message], Awaitable[None]]

_MAX_EDITS = 256
_MAX_UNSENT_EDIT_ANSWERS = 64
_LINGER_S = 5.0


@dataclass(eq=False)
class _Work(Generic[FrameT, PreparedT]):
    """A started frame and when what happened to it (seconds, monotonic)."""

    entry: FrameEntry[FrameT, Message]
    received_s: float
    started_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    stepped_s: float = 0.0
    prepared: PreparedT | None = None
    failure: Exception | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class FrameStream(Generic[FrameT, EditT, PreparedT, RawT]):
    """One stream from its config to its end."""

    def __init__(
        self,
        handler: StreamHandler[FrameT, EditT, PreparedT, RawT],
        terms: StreamTerms,
        response_type: Callable[..., Message],
        send: Send,
        observer: StreamObserver,
    ) -> None:
        self._handler = handler
        self._terms = terms
        self._response = response_type
        self._send_raw = send
        self._observer = observer
        self._queue: FrameQueue[FrameT, Message] = FrameQueue(terms.window, terms.policy)
        self._received_s: dict[int, float] = {}
        self._edits: EditBook[EditT] = EditBook(_MAX_EDITS)
        self._side: deque[Message] = deque()
        self._to_step: deque[_Work[FrameT, PreparedT]] = deque()
        self._in_work = 0
        self._signal = Signal()
        self._last_read = terms.resumed_after if terms.resumed_after is not None else -1
        self._last_stepped = self._last_read
        self._last_told = self._last_read
        self._since_snapshot = 0
        self._snapshot_after: int | None = None
        self._input_over = False
        self._work_over = False
        self._drain_deadline_s: float | None = None

    async def run(self, requests: AsyncIterator[Any], started: Message) -> None:
        """Say `started`, then serve until the client is done, or gone, or this side has to leave.

        Raises:
            ServiceError: the stream cannot go on; the rpc ends with its status.
        """
        try:
            await self._send(started)
            async with asyncio.TaskGroup() as self._group:
                reader = self._group.create_task(self._read(requests))
                self._group.create_task(self._work())
                self._group.create_task(self._write(reader))
        except BaseExceptionGroup as group:
            raise _first_cause(group) from None
        finally:
            await asyncio.shield(self._handler.close())

    def drain(self, grace_s: float) -> None:
        """Leave: finish the frames in work, hand the state to the client, end."""
        self._drain_deadline_s = time.monotonic() + grace_s
        cut = self._queue.cut_waiting()
        del cut  # the client sends them again
        self._signal.changed()

    @property
    def _draining(self) -> bool:
        return self._drain_deadline_s is not None

    # --- reading

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            if not self._draining:
                self._take(request)
                self._signal.changed()
            await self._signal.until(lambda: self._draining or self._has_room())
        self._input_over = True
        self._signal.changed()

    def _has_room(self) -> bool:
        window_open = not self._queue.full or not self._terms.blocks
        return window_open and len(self._side) < _MAX_UNSENT_EDIT_ANSWERS

    def _take(self, request: Any) -> None:
        kind = request.WhichOneof("message")
        if kind == "frame":
            self._take_frame(request.frame)
        elif kind == "edit":
            self._take_edit(request.edit)
        elif kind == "snapshot":
            self._take_snapshot_request()
        else:
            found = "a second config" if kind == "config" else "nothing"
            raise errors.invalid("message", f"expected frame, edit or snapshot, found {found}")

    def _take_frame(self, frame: FrameT) -> None:
        frame_id: int = frame.frame_id  # type: ignore[attr-defined]  # every frame message has one
        if frame_id <= self._last_read:
            raise errors.invalid(
                "frame.frame_id",
                f"expected more than {self._last_read}, found {frame_id}: ids increase strictly",
                reason="FRAME_ID_NOT_INCREASING",
            )
        self._last_read = frame_id
        self._observer.frames_in(1)
        entry, skipped = self._queue.offer(frame_id, frame)
        self._observer.frames_dropped(skipped)
        if entry is None:
            return
        self._received_s[frame_id] = time.monotonic()
        problems = violations(frame)
        if problems:
            entry.state = EntryState.STARTED
            self._in_work += 1
            work: _Work[FrameT, PreparedT] = _Work(entry, time.monotonic(), time.monotonic())
            self._fail(work, errors.invalid_fields(problems))
        self._start_waiting()

    def _take_edit(self, edit: EditT) -> None:
        named: int | None = edit.frame_id if edit.HasField("frame_id") else None  # type: ignore[attr-defined]  # every edit message has one
        problems = violations(edit)
        if problems:
            self._refuse(edit, named, errors.invalid_fields(problems))
        elif self._edits.full:
            self._refuse(
                edit,
                named,
                errors.exhausted(
                    f"{_MAX_EDITS} edits wait for their frames; expected no more than that",
                    reason="TOO_MANY_EDITS",
                ),
            )
        else:
            self._edits.add(PendingEdit(edit, named, self._last_read), self._last_stepped)

    def _take_snapshot_request(self) -> None:
        self._snapshot_after = self._last_read

    # --- working

    def _start_waiting(self) -> None:
        """Begin as many waiting frames as may be in work at once."""
        while self._in_work < self._handler.depth:
            entry = next(self._queue.waiting(), None)
            if entry is None:
                return
            entry.state = EntryState.STARTED
            self._in_work += 1
            received_s = self._received_s.pop(entry.frame_id)
            work: _Work[FrameT, PreparedT] = _Work(entry, received_s, time.monotonic())
            self._to_step.append(work)
            self._group.create_task(self._prepare(work))

    async def _prepare(self, work: _Work[FrameT, PreparedT]) -> None:
        try:
            work.prepared = await self._handler.prepare(work.entry.frame)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            work.failure = error
        work.decode_s = time.monotonic() - work.started_s
        work.ready.set()

    async def _work(self) -> None:
        while True:
            await self._signal.until(self._something_to_do)
            if self._edits.has_late:
                await self._apply(self._edits.take_late(), None)
            elif self._snapshot_is_late():
                self._side.append(await self._snapshot_message())
            elif self._to_step:
                await self._step(self._to_step.popleft())
            else:
                break
            self._signal.changed()
        if not self._draining:
            self._refuse_rest()
        self._work_over = True
        self._signal.changed()

    def _something_to_do(self) -> bool:
        over = self._input_over or self._draining
        return bool(over or self._edits.has_late or self._to_step or self._snapshot_is_late())

    def _snapshot_is_late(self) -> bool:
        """A snapshot was asked for after a frame, and no frame up to it is left to step."""
        wanted = self._snapshot_after
        if wanted is None or self._last_stepped < 0 or self._in_work:
            return False
        return next(self._queue.waiting(), None) is None

    async def _step(self, work: _Work[FrameT, PreparedT]) -> None:
        await work.ready.wait()
        frame_id = work.entry.frame_id
        try:
            if work.failure is not None:
                raise work.failure
            for pending in self._edits.take_due(frame_id):
                on_time = pending.frame_id in (None, frame_id)
                await self._apply(pending, work.prepared if on_time else None, frame_id)
            begun_s = time.monotonic()
            raw = await self._handler.step(work.entry.frame, work.prepared)  # type: ignore[arg-type]  # set when it did not fail
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._fail(work, error)
            return
        work.stepped_s = time.monotonic()
        work.infer_s = work.stepped_s - begun_s
        self._last_stepped = frame_id
        snapshot = await self._snapshot_if_due(frame_id)
        self._group.create_task(self._finish(work, raw, snapshot))

    async def _apply(
        self,
        pending: PendingEdit[EditT],
        prepared: PreparedT | None,
        stepping: int | None = None,
    ) -> None:
        frame_id = pending.frame_id if pending.frame_id is not None else (stepping or 0)
        try:
            object_id = await self._handler.apply(pending.edit, frame_id, prepared)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._refuse(pending.edit, frame_id, error)
            return
        self._answer_edit(pending.edit, frame_id, object_id, None)

    async def _finish(
        self, work: _Work[FrameT, PreparedT], raw: RawT, snapshot: Message | None
    ) -> None:
        begun_s = time.monotonic()
        try:
            result = await self._handler.finish(work.entry.frame, raw)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._fail(work, error, snapshot)
            return
        encode_s = time.monotonic() - begun_s
        result.timing.CopyFrom(self._timing(work, encode_s))  # type: ignore[attr-defined]  # every result message has one
        self._observer.frames_out(1)
        self._answer(work, self._response(result=result), snapshot)

    def _fail(
        self,
        work: _Work[FrameT, PreparedT],
        error: Exception,
        snapshot: Message | None = None,
    ) -> None:
        frame: Any = work.entry.frame
        self._observer.frames_failed(1)
        message = streams_pb2.FrameError(
            frame_id=work.entry.frame_id,
            capture_time_us=frame.capture_time_us,
            status=errors.status_from_exception(error),
            timing=self._timing(work, 0.0),
        )
        self._answer(work, self._response(error=message), snapshot)

    def _answer(
        self, work: _Work[FrameT, PreparedT], message: Message, snapshot: Message | None
    ) -> None:
        work.entry.answers = [message] if snapshot is None else [message, snapshot]
        work.entry.state = EntryState.ANSWERED
        self._in_work -= 1
        self._start_waiting()
        self._signal.changed()

    @staticmethod
    def _timing(work: _Work[FrameT, PreparedT], encode_s: float) -> media_pb2.Timing:
        until_stepped_s = (work.stepped_s or time.monotonic()) - work.received_s
        queue_s = max(0.0, until_stepped_s - work.decode_s - work.infer_s)
        return media_pb2.Timing(
            queue_ms=queue_s * 1e3,
            decode_ms=work.decode_s * 1e3,
            infer_ms=work.infer_s * 1e3,
            encode_ms=encode_s * 1e3,
        )

    # --- edits' answers and snapshots

    def _refuse(self, edit: EditT, frame_id: int | None, error: Exception) -> None:
        self._answer_edit(edit, frame_id or 0, 0, errors.status_from_exception(error))

    def _refuse_rest(self) -> None:
        for pending in self._edits.take_all():
            gone = errors.not_found(
                f"frame {pending.frame_id}: the stream ended before it", reason="FRAME_GONE"
            )
            self._refuse(pending.edit, pending.frame_id, gone)

    def _answer_edit(
        self, edit: Any, frame_id: int, object_id: int, status: status_pb2.Status | None
    ) -> None:
        answer = streams_pb2.EditResult(
            edit_id=edit.edit_id, frame_id=frame_id, object_id=object_id, status=status
        )
        self._side.append(self._response(edit=answer))

    async def _snapshot_if_due(self, frame_id: int) -> Message | None:
        self._since_snapshot += 1
        wanted = self._snapshot_after
        asked = wanted is not None and frame_id >= wanted
        every = self._terms.snapshot_every_n_frames
        if not asked and not (every and self._since_snapshot >= every):
            return None
        return await self._snapshot_message()

    async def _snapshot_message(self) -> Message:
        self._snapshot_after = None
        self._since_snapshot = 0
        token = self._terms.seal(await self._handler.snapshot(), self._last_stepped)
        snapshot = streams_pb2.StreamSnapshot(frame_id=self._last_stepped, resume_token=token)
        return self._response(snapshot=snapshot)

    # --- writing

    async def _write(self, reader: asyncio.Task[None]) -> None:
        while True:
            await self._signal.until(lambda: self._side or self._queue.ready or self._all_told())
            if self._side:
                await self._send(self._side.popleft())
            elif (entry := self._queue.pop_ready()) is not None:
                await self._tell(entry)
            else:
                break
            self._signal.changed()
        if self._draining:
            await self._say_goodbye(reader)

    def _all_told(self) -> bool:
        return self._work_over and len(self._queue) == 0

    async def _tell(self, entry: FrameEntry[FrameT, Message] | SkipRun) -> None:
        if isinstance(entry, SkipRun):
            self._last_told = entry.last_frame_id
            await self._send(self._response(skipped=self._terms.skipped(entry)))
        else:
            self._last_told = entry.frame_id
            for message in entry.answers:
                await self._send(message)
        self._queue.written(entry)

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._terms.stall_timeout_s):
                await self._send_raw(message)
        except TimeoutError:
            raise errors.exhausted(
                f"the client read nothing for {self._terms.stall_timeout_s:g} s",
                reason="CLIENT_STALLED",
            ) from None

    async def _say_goodbye(self, reader: asyncio.Task[None]) -> None:
        """Hand over: a token after everything was answered, then wait for the client to go."""
        left_s = max(0.0, (self._drain_deadline_s or 0.0) - time.monotonic())
        linger_s = min(_LINGER_S, left_s)
        message = streams_pb2.GoAway()
        message.deadline.FromMilliseconds(int(linger_s * 1e3))
        if self._last_told >= 0:
            message.last_frame_id = self._last_told
        if self._last_stepped >= 0:
            state = await self._handler.snapshot()
            message.resume_token = self._terms.seal(state, self._last_told)
        await self._send(self._response(go_away=message))
        await asyncio.wait([reader], timeout=linger_s)
        reader.cancel()


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that brought the stream down: a service error where there is one."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(_first_cause(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((e for e in leaves if isinstance(e, errors.ServiceError)), leaves[0])
