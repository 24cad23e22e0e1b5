"""One logical stream by the contract in streams.proto, whichever servers it runs on.

A task connects, reads and reconnects; a second one writes. The caller's side never touches the
rpc: it puts frames and edits into the ledger and takes answers from a queue, so a caller that
only sends is answered all the same, up to `max_unread` answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal

from kinemask.client._connection import AnswerT, Connection, StreamCall, StreamKind
from kinemask.client._inbox import EditAck, Inbox, Walk
from kinemask.client._ledger import (
    MAX_UNANSWERED_EDITS,
    EditEntry,
    FrameEntry,
    Ledger,
    ProtocolError,
)
from kinemask.client._recovery import Recovery
from kinemask.client._signal import Signal
from kinemask.config import StreamEvent, StreamInfo, StreamOptions
from kinemask.errors import (
    ErrorInfo,
    InternalError,
    KinemaskError,
    ResourceExhaustedError,
    StreamClosedError,
    UnavailableError,
    from_grpc,
)

_log = logging.getLogger("kinemask.client")
EventKind = Literal["go_away", "lost", "resumed", "snapshot"]


@dataclass(frozen=True)
class StreamContext:
    """What a stream is opened with."""

    connect: Callable[[], StreamCall]
    options: StreamOptions
    request_id: str
    open_timeout_s: float | None


class StreamCore(Generic[AnswerT]):
    """A stream from its config to its end.

    Invariants: every frame taken gets exactly one answer, in order, unless the stream fails, and
    then reading raises why after the answers there are; every edit's future is resolved.
    """

    def __init__(self, kind: StreamKind[AnswerT], context: StreamContext) -> None:
        self.info: StreamInfo | None = None
        """How the stream runs at the server that serves it now."""
        self._kind = kind
        self._context = context
        self._options = context.options
        self._ledger = Ledger(self._options.policy, self._options.snapshot_every_n_frames)
        self._recovery = Recovery(self._options.resume_timeout_s)
        self._signal = Signal()
        self._inbox = Inbox(kind, self._ledger, context.request_id)
        self._next_edit_id = kind.first_edit_id
        self._task: asyncio.Task[None] | None = None
        self._finishing = False
        self._over = False
        self._error: KinemaskError | None = None

    # --- the caller's side

    async def open(self) -> StreamInfo:
        """Connect, unless that was done; wait until the server has accepted the config.

        Raises:
            KinemaskError: the stream was refused or has failed since.
        """
        if self._task is None and not self._over:
            self._task = asyncio.create_task(self._run(), name=f"kinemask {self._kind.name}")
        await self._signal.until(lambda: self.info is not None or self._over)
        if self.info is None:
            raise self._error or self._closed()
        return self.info

    async def send(self, frame: Any, frame_id: int | None, capture_time_us: int) -> int:
        """Hand over a frame message; returns its id. Waits for room under BLOCK.

        Raises:
            KinemaskError: the stream is over, or nobody reads its answers.
            ValueError: the id is not larger than the last one.
        """
        await self.open()
        await self._room()
        last = self._ledger.last_frame_id
        frame.frame_id = last + 1 if frame_id is None else frame_id
        if frame.frame_id <= last:
            raise ValueError(f"frame_id: expected more than {last}, found {frame.frame_id}")
        if "capture_time_us" in frame.DESCRIPTOR.fields_by_name:  # a face to enrol has none
            frame.capture_time_us = capture_time_us
        request = self._kind.request(frame=frame)
        self._ledger.add_frame(FrameEntry(frame.frame_id, capture_time_us, request))
        self._inbox.tell_dropped()
        self._signal.changed()
        return int(frame.frame_id)

    def edit(self, edit: Any, walk: Walk[AnswerT] | None = None) -> asyncio.Future[EditAck]:
        """Hand over an edit message; the future gives its answer, or raises why it was refused.

        A propagation comes with the walk that gathers its frames, and is answered when it is over.

        Raises:
            KinemaskError: the stream is over, or too many edits are unanswered.
        """
        self._check_open()
        if self._ledger.unanswered_edits >= MAX_UNANSWERED_EDITS:
            raise ResourceExhaustedError(
                f"{MAX_UNANSWERED_EDITS} edits are unanswered; expected no more than that",
                info=ErrorInfo(reason="TOO_MANY_EDITS"),
            )
        edit.edit_id, self._next_edit_id = self._next_edit_id, self._next_edit_id + 1
        future = self._inbox.expect_edit(edit.edit_id, walk)
        named: int | None = edit.frame_id if edit.HasField("frame_id") else None
        self._ledger.add_edit(EditEntry(edit.edit_id, named, self._kind.request(edit=edit)))
        self._signal.changed()
        return future

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds that messages from the server change."""
        await self._signal.until(holds)

    def finish(self) -> None:
        """No frame and no edit comes any more; what was handed over is still answered."""
        self._finishing = True
        self._signal.changed()

    async def next(self) -> AnswerT | None:
        """The next frame's answer; None after the last one of a finished stream.

        Raises:
            KinemaskError: the stream has failed.
        """
        await self.open()
        await self._signal.until(lambda: self._inbox.answers or self._over)
        if not self._inbox.answers:
            if self._error is not None:
                raise self._error
            return None
        return self.ready()

    def ready(self) -> AnswerT | None:
        """An answer that is there already."""
        if not self._inbox.answers:
            return None
        answer = self._inbox.answers.popleft()
        self._signal.changed()
        return answer

    async def close(self) -> None:
        """End the rpc now, whatever is unanswered. Idempotent."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self._end(None)

    async def _room(self) -> None:
        """Wait for room in the window; see `StreamOptions.unread_timeout_s`."""
        while True:
            self._check_open()
            try:
                async with asyncio.timeout(self._options.unread_timeout_s):
                    await self._signal.until(lambda: self._over or self._ledger.has_room)
            except TimeoutError:
                if self._unread_full():
                    raise ResourceExhaustedError(
                        f"{len(self._inbox.answers)} answers wait and nobody reads them; "
                        "read the stream while sending",
                        info=ErrorInfo(reason="ANSWERS_NOT_READ"),
                    ) from None
            if self._ledger.has_room and not self._over:
                return

    def _check_open(self) -> None:
        if self._over or self._finishing:
            raise self._error or self._closed()

    def _closed(self) -> KinemaskError:
        return StreamClosedError("the stream is closed", info=ErrorInfo(reason="STREAM_CLOSED"))

    def _unread_full(self) -> bool:
        return len(self._inbox.answers) >= self._options.max_unread

    # --- connections

    async def _run(self) -> None:
        error: KinemaskError | None = None
        try:
            while not await self._connection():
                pass
        except KinemaskError as reason:
            error = reason
        except Exception as reason:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            _log.exception("a stream failed unexpectedly")
            error = from_grpc(reason, self._context.request_id)
        finally:
            self._end(error)

    async def _connection(self) -> bool:
        """One rpc from start to end, and the pause after it. True if the stream is finished.

        Raises:
            KinemaskError: the stream cannot go on.
        """
        error: KinemaskError | None = None
        try:
            if await self._serve():
                return True
        except ProtocolError as reason:
            raise InternalError(str(reason), request_id=self._context.request_id) from reason
        except KinemaskError as reason:
            error = reason
        if error is not None and not self._ledger.restartable:
            raise error
        pause_s = self._recovery.pause_s(error)
        if pause_s is None:
            raise error or UnavailableError(
                "every server that was asked is leaving", request_id=self._context.request_id
            )
        if error is not None and self._recovery.was_running:
            self._event("lost", f"the server vanished: {error.message}")
        await asyncio.sleep(pause_s)
        return False

    async def _serve(self) -> bool:
        """One rpc. True if the stream is finished, False if the server leaves."""
        connection = Connection(self._context.connect(), self._context.request_id)
        writer: asyncio.Task[None] | None = None
        try:
            config = self._kind.request(config=self._kind.config(self._ledger.token))
            started = await connection.open(config, self._context.open_timeout_s)
            self._started(self._kind.info(started))
            writer = asyncio.create_task(self._write(connection))
            return await self._read(connection)
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.wait([writer])
            connection.close()

    def _started(self, info: StreamInfo) -> None:
        again = self.info is not None
        self.info = info
        self._ledger.window = info.window
        self._recovery.opened()
        resent = self._ledger.restart()
        if again:
            where = info.service.replica or "another server"
            self._event("resumed", f"the stream goes on at {where}", resent)
        self._signal.changed()

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._signal.until(self._something_to_write)
            if not self._ledger.can_write:
                await connection.done_writing()
                return
            if not await connection.write(self._ledger.take_to_write().request):
                return

    def _something_to_write(self) -> bool:
        return self._ledger.can_write or (self._finishing and self._ledger.idle)

    async def _read(self, connection: Connection) -> bool:
        while True:
            await self._signal.until(lambda: not self._unread_full())
            message = await connection.read()
            if message is None:
                break
            kind = message.WhichOneof("message")
            if kind == "go_away":
                self._leave(message.go_away)
                return False
            if kind == "snapshot":
                self._keep(message.snapshot)
            else:
                self._take(message)
            self._signal.changed()
        if self._finishing and self._ledger.untold == 0 and self._ledger.idle:
            return True
        raise UnavailableError(
            f"the server ended the stream with {self._ledger.untold} frames unanswered",
            info=ErrorInfo(reason="STREAM_ENDED"),
            request_id=self._context.request_id,
        )

    def _leave(self, message: Any) -> None:
        last = message.last_frame_id if message.HasField("last_frame_id") else None
        self._ledger.go_away(message.resume_token, last)
        self._inbox.restart_walks()
        self._event("go_away", "the server leaves")

    def _event(self, kind: EventKind, text: str, resent: int = 0) -> None:
        frame_id = self._ledger.token_frame_id
        event = StreamEvent(kind, text, frame_id if frame_id >= 0 else None, resent)
        level = logging.DEBUG if kind == "snapshot" else logging.INFO
        _log.log(level, "%s: %s (state of frame %s)", self._kind.name, text, event.last_frame_id)
        if self._options.on_event is not None:
            try:
                self._options.on_event(event)
            except Exception:  # noqa: BLE001 - the caller's code; the stream goes on
                _log.exception("on_event failed")

    def _take(self, message: Any) -> None:
        news = self._inbox.news
        self._inbox.take(message)
        if self._inbox.news > news:
            self._recovery.progressed()

    def _keep(self, snapshot: Any) -> None:
        self._ledger.snapshot(snapshot.frame_id, snapshot.resume_token)
        self._event("snapshot", "a snapshot came")

    def _end(self, error: KinemaskError | None) -> None:
        if self._over:
            return
        self._over, self._error = True, error
        self._inbox.end(error or self._closed())
        self._signal.changed()
