"""The segmenter's stream behind one live stream: it survives the replica that serves it.

A replica that leaves hands its state over (ContractStream). One that dies takes it along: then a
new stream is opened elsewhere, every object is prompted with its last mask, and the frames that
were not answered are sent again. Only when no replica is there do frames go unmasked, and say so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
import structlog
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc, streams_pb2
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import StreamLost, consume
from kinemask_gateway.live.failures import StageDown, brief

_log = structlog.get_logger(__name__)
_RETRY_S = 1.0
_REOPEN_ATTEMPTS = 5
_REOPEN_PAUSE_S = 0.05


@dataclass(frozen=True)
class _Pending:
    """A frame on its way, and who waits for it."""

    frame: media_pb2.Frame
    answer: asyncio.Future[segmenter_pb2.SegmentVideoResult]


class Segmenting:
    """Frames and prompts in, masks out, in order.

    Invariant: a future that `submit` gave is resolved in frame order, with the result, with
    FrameFailed, or with StageDown.
    """

    def __init__(
        self,
        pool: ReplicaPool,
        config: segmenter_pb2.SegmentVideoConfig,
        open_timeout_s: float,
        on_result: Callable[[segmenter_pb2.SegmentVideoResult], None],
    ) -> None:
        """`on_result` hears every result first, in frame order."""
        self._pool = pool
        self._config = config
        self._open_timeout_s = open_timeout_s
        self._on_result = on_result
        self._stream: ContractStream | None = None
        self._pending: dict[int, _Pending] = {}
        self._last_masks: dict[int, media_pb2.Mask] = {}
        self._last_boxes: dict[int, media_pb2.Box] = {}
        self._edit_ids = iter(range(1, 1 << 62))
        self._recovery: asyncio.Task[None] | None = None
        self._retry_at_s = 0.0
        self._closed = False
        self.recoveries = 0
        """How often the state was lost with a replica and made anew from the last masks."""

    @property
    def service(self) -> media_pb2.ServiceInfo | None:
        """Who serves now."""
        return None if self._stream is None else self._stream.started.terms.service

    async def open(self, token: bytes = b"") -> media_pb2.ServiceInfo:
        """Open the stream, going on from a token if there is one.

        Raises:
            grpc.aio.AioRpcError: the segmenter refused.
            LookupError: there is no segmenter.
            StreamLost: it ended the stream at once.
        """
        self._stream = await self._open_stream(token)
        service = self.service
        if service is None:
            raise StreamLost(None)
        return service

    async def submit(
        self, frame: media_pb2.Frame
    ) -> asyncio.Future[segmenter_pb2.SegmentVideoResult]:
        """Send the next frame."""
        answer: asyncio.Future[segmenter_pb2.SegmentVideoResult]
        answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(consume)
        self._pending[frame.frame_id] = _Pending(frame, answer)
        await self._available()
        if self._stream is not None:
            await self._send(self._stream, frame)
        return answer

    async def prompt(
        self, frame_id: int, prompt: segmenter_pb2.ObjectPrompt
    ) -> asyncio.Future[streams_pb2.EditResult]:
        """Prompt an object; the future is resolved when the frame was stepped.

        Raises:
            StageDown: no segmenter is there.
        """
        edit = segmenter_pb2.SegmentVideoEdit(
            edit_id=next(self._edit_ids), frame_id=frame_id, prompt=prompt
        )
        return await self._edit(edit)

    async def remove(self, object_id: int) -> asyncio.Future[streams_pb2.EditResult]:
        """Forget an object from the next frame on.

        Raises:
            StageDown: no segmenter is there.
        """
        self._last_masks.pop(object_id, None)
        self._last_boxes.pop(object_id, None)
        removal = segmenter_pb2.ObjectRemoval(object_id=object_id)
        edit = segmenter_pb2.SegmentVideoEdit(edit_id=next(self._edit_ids), remove=removal)
        return await self._edit(edit)

    async def snapshot(self) -> bytes:
        """A token for the state after the frames sent so far; empty if the stage is down."""
        if self._stream is None:
            return b""
        try:
            return (await (await self._stream.snapshot())).resume_token
        except StreamLost:
            return b""

    def masks(self) -> Mapping[int, media_pb2.Mask]:
        """Each object's last mask that was not empty."""
        return self._last_masks

    def restore_masks(self, masks: Mapping[int, media_pb2.Mask]) -> None:
        self._last_masks = dict(masks)

    async def close(self) -> None:
        """End the stream; frames on their way fail. Idempotent."""
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
        if self._stream is not None:
            await self._stream.close()
        self._fail_pending(StageDown(errors.aborted("the stream was closed", reason="CLOSED")))

    async def _edit(
        self, edit: segmenter_pb2.SegmentVideoEdit
    ) -> asyncio.Future[streams_pb2.EditResult]:
        await self._available()
        if self._stream is None:
            raise StageDown(self._down())
        try:
            return await self._stream.send_edit(edit)
        except StreamLost as lost:
            raise StageDown(self._down()) from lost

    async def _send(self, stream: ContractStream, frame: media_pb2.Frame) -> None:
        try:
            inner = await stream.send_frame(frame)
        except StreamLost:
            self._recover()
            return
        inner.add_done_callback(lambda done: self._answered(frame.frame_id, done))

    def _answered(
        self, frame_id: int, inner: asyncio.Future[segmenter_pb2.SegmentVideoResult]
    ) -> None:
        error = None if inner.cancelled() else inner.exception()
        if isinstance(error, StreamLost):
            self._recover()
            return
        pending = self._pending.pop(frame_id, None)
        if pending is None or pending.answer.done():
            return
        if error is not None:
            pending.answer.set_exception(error)
            return
        result = inner.result()
        self._remember(result)
        self._on_result(result)
        pending.answer.set_result(result)

    def _remember(self, result: segmenter_pb2.SegmentVideoResult) -> None:
        for entry in result.objects:
            if entry.HasField("mask"):
                self._last_masks[entry.object_id] = entry.mask
            if entry.HasField("box"):
                self._last_boxes[entry.object_id] = entry.box

    # --- recovery

    def _recover(self) -> None:
        if self._closed or (self._recovery is not None and not self._recovery.done()):
            return
        self._stream = None
        self._recovery = asyncio.create_task(self._reopen())

    async def _available(self) -> None:
        """Wait for a recovery under way; begin one when it is time to try again."""
        if self._stream is None and time.monotonic() >= self._retry_at_s:
            self._recover()
        if self._recovery is not None and not self._recovery.done():
            await asyncio.wait([self._recovery])
        if self._stream is None:
            self._fail_pending(StageDown(self._down()))

    async def _reopen(self) -> None:
        self.recoveries += 1
        for attempt in range(_REOPEN_ATTEMPTS):
            try:
                stream = await self._open_stream(b"")
            except (grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError) as error:
                _log.warning("segmenter_lost", attempt=attempt + 1, error=brief(error))
                await asyncio.sleep(_REOPEN_PAUSE_S * 2**attempt)
            else:
                await self._repeat(stream)
                return
        self._retry_at_s = time.monotonic() + _RETRY_S
        self._fail_pending(StageDown(self._down()))

    async def _repeat(self, stream: ContractStream) -> None:
        """Tell a fresh stream what the lost one knew, then send what it did not answer."""
        frames = [pending.frame for pending in self._pending.values()]
        for object_id in {*self._last_masks, *self._last_boxes}:
            prompt = segmenter_pb2.ObjectPrompt(object_id=object_id)
            if object_id in self._last_masks:
                prompt.mask.CopyFrom(self._last_masks[object_id])
            else:
                prompt.box.CopyFrom(self._last_boxes[object_id])
            edit = segmenter_pb2.SegmentVideoEdit(edit_id=next(self._edit_ids), prompt=prompt)
            try:
                await stream.send_edit(edit)
            except StreamLost:
                break
        self._stream = stream
        for frame in frames:
            await self._send(stream, frame)

    async def _open_stream(self, token: bytes) -> ContractStream:
        config = segmenter_pb2.SegmentVideoConfig()
        config.CopyFrom(self._config)

        def dial() -> grpc.aio.StreamStreamCall[
            segmenter_pb2.SegmentVideoRequest, segmenter_pb2.SegmentVideoResponse
        ]:
            stub = segmenter_pb2_grpc.SegmenterServiceStub(self._pool.next_channel())
            return stub.SegmentVideo(**call_options().as_arguments())

        stream = ContractStream(dial, segmenter_pb2.SegmentVideoRequest, config)
        async with asyncio.timeout(self._open_timeout_s):
            await stream.open(token)
        return stream

    def _down(self) -> errors.ServiceError:
        return errors.unavailable(
            "no segmenter replica serves now; objects keep their last boxes",
            reason="SEGMENTER_DOWN",
            retry_after_s=_RETRY_S,
        )

    def _fail_pending(self, error: Exception) -> None:
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(error)
        self._pending.clear()
