"""The client's side of the stream contract (streams.proto), at the level of messages.

One `ContractStream` is one logical stream: when a server leaves (GoAway) it goes on at another
from the token, and every frame and edit that was not answered is sent again. Nothing is decoded
here; results are the API's messages.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from kinemask.v1 import streams_pb2

from kinemask_gateway.downstream.unanswered import (
    EditRefused,
    FrameFailed,
    FrameSkipped,
    StreamLost,
    Unanswered,
    consume,
)

# A replica that leaves, or is full: another may take the stream. In all about 3 s of trying.
_ELSEWHERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_MOVE_ATTEMPTS = 8
_MOVE_PAUSE_S = 0.025

Call = Any
"""A `grpc.aio.StreamStreamCall`, just started."""
Dial = Callable[[], Call]
"""Starts the rpc, at whichever replica is next."""


class ContractStream:
    """A stream of frames and edits to one service, wherever it is served.

    Invariant: every future that `send_frame`, `send_edit` and `snapshot` gave is resolved: with
    the answer, with FrameFailed or EditRefused, or with StreamLost when the stream cannot go on.
    """

    def __init__(
        self,
        dial: Dial,
        request_type: Callable[..., Message],
        config: Message,
        on_message: Callable[[Any], None] | None = None,
    ) -> None:
        """`on_message` sees every reply first (results, snapshots, go_away), to watch or log."""
        self._dial = dial
        self._request_type = request_type
        self._config = config
        self._on_message = on_message
        self._call: Call = None
        self._unanswered = Unanswered()
        self._snapshots: deque[asyncio.Future[Any]] = deque()
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._lost: StreamLost | None = None
        self.started: Any = None
        """The `started` message of the replica that serves now."""
        self.moves = 0
        """How often the stream went on at another replica."""

    @property
    def unanswered_frames(self) -> int:
        return len(self._unanswered.frames)

    @property
    def lost(self) -> bool:
        return self._lost is not None

    async def open(self, token: bytes = b"") -> Any:
        """Send the config, with a token to go on from, and wait for `started`; returns it.

        Raises:
            grpc.aio.AioRpcError: the service refused, or is not there.
            StreamLost: it ended the stream without a word.
        """
        await self._connect(token)
        self._reader = asyncio.create_task(self._read())
        return self.started

    async def send_frame(self, frame: Any) -> asyncio.Future[Any]:
        """Send a frame; the future gives its result message.

        Raises:
            StreamLost: the stream cannot go on.
        """
        future = self._unanswered.add("frame", frame.frame_id, self._request_type(frame=frame))
        await self._write(self._unanswered.frames[frame.frame_id][0], future)
        return future

    async def send_edit(self, edit: Any) -> asyncio.Future[streams_pb2.EditResult]:
        """Send an edit; the future gives its EditResult.

        Raises:
            StreamLost: the stream cannot go on.
        """
        future = self._unanswered.add("edit", edit.edit_id, self._request_type(edit=edit))
        await self._write(self._unanswered.edits[edit.edit_id][0], future)
        return future

    async def snapshot(self) -> asyncio.Future[streams_pb2.StreamSnapshot]:
        """Ask for a snapshot after the frames sent so far.

        Raises:
            StreamLost: the stream cannot go on.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(consume)
        self._snapshots.append(future)
        request = self._request_type(snapshot=streams_pb2.SnapshotRequest())
        await self._write(request, future)
        return future

    async def finish(self) -> None:
        """Say that no frame comes any more and wait for every answer."""
        async with self._writing:
            if self._lost is None:
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._call.done_writing()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def close(self) -> None:
        """End the rpc now. Idempotent."""
        self._lose(StreamLost(None))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._call is not None:
            self._call.cancel()

    async def _write(self, request: Message, future: asyncio.Future[Any]) -> None:
        moves = self.moves
        async with self._writing:
            if self._lost is not None:
                raise self._lost
            if future.done() or self.moves != moves:
                return  # answered already, or a move that was under way has sent it along
            try:
                await self._call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader sees the same end, and knows whether the stream moves or is lost;
                # what was not answered is sent again then.
                return

    async def _connect(self, token: bytes) -> None:
        call = self._dial()
        config = type(self._config)()
        config.CopyFrom(self._config)
        config.stream.resume_token = token  # type: ignore[attr-defined]  # every config has it
        try:
            await call.write(self._request_type(config=config))
            first = await call.read()
        except asyncio.InvalidStateError:
            first = grpc.aio.EOF
        if first is grpc.aio.EOF:
            code = await call.code()
            if code is not grpc.StatusCode.OK:
                await _raise_status(call)
            raise StreamLost(None)
        self.started = first.started
        self._call = call

    async def _read(self) -> None:
        while True:
            try:
                message = await self._call.read()
            except grpc.aio.AioRpcError as error:
                self._lose(StreamLost(error))
                return
            if message is grpc.aio.EOF:
                await self._ended()
                return
            if self._on_message is not None:
                self._on_message(message)
            if message.WhichOneof("message") == "go_away":
                if not await self._move(message.go_away):
                    return
            else:
                self._deliver(message)

    async def _ended(self) -> None:
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            self._lose(StreamLost(None))
            return
        try:
            await _raise_status(self._call)
        except grpc.aio.AioRpcError as error:
            self._lose(StreamLost(error))

    async def _move(self, go_away: streams_pb2.GoAway) -> bool:
        """Go on elsewhere: config with the token, then everything unanswered again."""
        async with self._writing:
            left = self._call
            try:
                await self._reconnect(go_away.resume_token)
                await self._send_again()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, StreamLost) as error:
                self._lose(StreamLost(error))
                return False
            finally:
                left.cancel()
            self.moves += 1
            return True

    async def _send_again(self) -> None:
        """Everything unanswered, also what comes while this sends and waits for the lock."""
        sent: set[int] = set()
        asked = 0
        while True:
            requests = [each for each in self._unanswered.requests() if id(each) not in sent]
            sent.update(map(id, requests))
            asks, asked = len(self._snapshots) - asked, len(self._snapshots)
            if not requests and not asks:
                return
            ask = self._request_type(snapshot=streams_pb2.SnapshotRequest())
            for request in [*requests, *[ask] * asks]:
                await self._call.write(request)

    async def _reconnect(self, token: bytes) -> None:
        """Connect to whoever takes the stream; replicas that leave too are passed over."""
        for attempt in range(_MOVE_ATTEMPTS):
            try:
                await self._connect(token)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _ELSEWHERE or attempt == _MOVE_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(_MOVE_PAUSE_S * 2**attempt)
            else:
                return

    def _deliver(self, message: Any) -> None:
        kind = message.WhichOneof("message")
        if kind == "result":
            self._resolve(self._unanswered.frames, message.result.frame_id, message.result)
        elif kind == "error":
            failure = FrameFailed(message.error.frame_id, message.error.status)
            self._resolve(self._unanswered.frames, failure.frame_id, failure)
        elif kind == "skipped":
            self._skip(message.skipped)
        elif kind == "edit":
            edit = message.edit
            failed = EditRefused(edit.edit_id, edit.status) if edit.HasField("status") else None
            self._resolve(self._unanswered.edits, edit.edit_id, failed or edit)
        elif kind == "snapshot" and self._snapshots:
            future = self._snapshots.popleft()
            if not future.done():
                future.set_result(message.snapshot)
        self._unanswered.trim()

    def _skip(self, run: streams_pb2.FramesSkipped) -> None:
        first, last = run.first_frame_id, run.last_frame_id
        for frame_id in [f for f in self._unanswered.frames if first <= f <= last]:
            skipped = FrameSkipped(frame_id, run.status)
            self._resolve(self._unanswered.frames, frame_id, skipped)

    @staticmethod
    def _resolve(
        held: dict[int, tuple[Message, asyncio.Future[Any]]], key: int, outcome: object
    ) -> None:
        _, future = held.pop(key, (None, None))
        if future is None or future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _lose(self, error: StreamLost) -> None:
        if self._lost is None:
            self._lost = error
        self._unanswered.fail(self._lost)
        for future in self._snapshots:
            if not future.done():
                future.set_exception(self._lost)
        self._snapshots.clear()


async def _raise_status(call: Call) -> None:
    raise grpc.aio.AioRpcError(
        await call.code(),
        await call.initial_metadata(),
        await call.trailing_metadata(),
        await call.details(),
    )
