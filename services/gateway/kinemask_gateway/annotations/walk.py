"""One walk over a video's frames, on a segmenter stream that may be lost.

Now and then the stream is asked for a snapshot. When its replica dies, another stream goes on from
the last snapshot, and the frames since then are walked again: what comes of them is the same, and
nothing of it is told twice.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import grpc
import structlog
from google.rpc import status_pb2
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2, streams_pb2
from kinemask.video import VideoFrame
from kinemask_chassis import errors

from kinemask_gateway.annotations.calls import WINDOW, SegmenterCalls, as_service_error
from kinemask_gateway.annotations.plan import Step
from kinemask_gateway.annotations.saying import mask_prompt
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import EditRefused, FrameFailed, StreamLost
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.tracks.messages import Size

SNAPSHOT_EVERY_N_FRAMES = 32
_TRIES = 10
_PAUSE_S = 0.1
_MOST_PAUSE_S = 3.0
# What no other replica would answer otherwise.
_FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Walked:
    """What came of one step."""

    step: Step
    result: segmenter_pb2.SegmentVideoResult | None = None
    error: status_pb2.Status | None = None
    """Set where the frame could not be worked on."""


@dataclass(frozen=True)
class _Sent:
    """A step on its way."""

    number: int
    answer: asyncio.Future[segmenter_pb2.SegmentVideoResult] | None
    """None: the frame cannot be decoded."""
    edits: tuple[asyncio.Future[streams_pb2.EditResult], ...]
    snapshot: asyncio.Future[streams_pb2.StreamSnapshot] | None


class Walk:
    """Walks once.

    Invariant: the steps before `_done` have been told; the snapshot `_token` was taken after the
    step before `_token_at`.
    """

    def __init__(
        self,
        calls: SegmenterCalls,
        options: pb.SessionOptions,
        source: FrameSource,
        steps: Sequence[Step],
        size: Size,
    ) -> None:
        self._calls = calls
        self._options = options
        self._source = source
        self._steps = steps
        self._size = size
        # Stream ids must ascend, also where frames descend.
        self._ids = [abs(step.frame_index - steps[0].frame_index) for step in steps]
        self._done = 0
        self._token = b""
        self._token_at = 0
        self.service: media_pb2.ServiceInfo | None = None
        """Who serves, once somebody does."""

    async def run(self) -> AsyncGenerator[Walked, None]:
        """Every step, in order.

        Raises:
            ServiceError: UNAVAILABLE: no replica took the stream for a while; or what the
                segmenter refused it with.
        """
        failures, before = 0, -1
        while self._done < len(self._steps):
            failures = 0 if self._done > before else failures
            before = self._done
            try:
                async with aclosing(self._attempt()) as walked:
                    async for one in walked:
                        yield one
            except (grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError) as error:
                failures += 1
                await self._pause(failures, error)

    async def _pause(self, failures: int, error: Exception) -> None:
        """Wait before another attempt; raises where there is to be none."""
        told = as_service_error(error)
        if self._token and told.code in (*_FINAL, grpc.StatusCode.DATA_LOSS):
            # Another model than the one that took the snapshot: from the beginning, then.
            self._token, self._token_at = b"", 0
        elif told.code in _FINAL or failures > _TRIES:
            raise told from error
        _log.warning("walk_interrupted", failures=failures, done=self._done, why=told.message)
        await asyncio.sleep(min(_PAUSE_S * 2 ** (failures - 1), _MOST_PAUSE_S))

    async def _attempt(self) -> AsyncGenerator[Walked, None]:
        stream = await self._calls.stream(self._options, self._token)
        self.service = stream.started.terms.service
        sent: asyncio.Queue[_Sent | None] = asyncio.Queue(WINDOW)
        sending = asyncio.create_task(self._send(stream, sent))
        try:
            while (one := await _next(sent, sending)) is not None:
                walked = await self._answered(one)
                if one.number >= self._done:
                    self._done = one.number + 1
                    yield walked
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await stream.close()

    async def _answered(self, one: _Sent) -> Walked:
        step = self._steps[one.number]
        if one.answer is None:
            what = errors.data_loss("the frame cannot be decoded", reason="FRAME_DAMAGED")
            return Walked(step, error=what.to_status())
        try:
            walked = Walked(step, await one.answer)
        except FrameFailed as failure:
            walked = Walked(step, error=failure.status)
        for edit in one.edits:
            try:
                await edit
            except EditRefused as refused:
                raise errors.from_status(refused.status) from refused
        if one.snapshot is not None:
            taken = await one.snapshot
            if taken.resume_token:
                self._token = taken.resume_token
                self._token_at = bisect_right(self._ids, taken.frame_id)
        return walked

    async def _send(self, stream: ContractStream, sent: asyncio.Queue[_Sent | None]) -> None:
        """Every step from the snapshot on; the queue keeps it from running far ahead."""
        edit_ids = itertools.count(1)
        async with aclosing(self._frames(self._token_at)) as frames:
            async for number, frame in frames:
                step, frame_id = self._steps[number], self._ids[number]
                if frame is None:
                    await sent.put(_Sent(number, None, (), None))
                    continue
                edits = [
                    await stream.send_edit(edit)
                    for edit in _edits(step, frame_id, edit_ids, self._size)
                ]
                message = await asyncio.to_thread(self._source.message, frame, frame_id)
                answer = await stream.send_frame(message)
                due = (number + 1) % SNAPSHOT_EVERY_N_FRAMES == 0
                snapshot = await stream.snapshot() if due else None
                await sent.put(_Sent(number, answer, tuple(edits), snapshot))
        await sent.put(None)

    async def _frames(self, start: int) -> AsyncGenerator[tuple[int, VideoFrame | None], None]:
        """The frames of the steps from `start` on; None for one that cannot be decoded."""
        number = start
        while number < len(self._steps):
            end = number
            while end + 1 < len(self._steps) and self._ids[end + 1] == self._ids[end] + 1:
                end += 1
            first, last = self._steps[number].frame_index, self._steps[end].frame_index
            ascending = last >= first
            read = self._source.ascending if ascending else self._source.descending
            async with aclosing(read(first, last)) as frames:
                async for frame in frames:
                    while self._steps[number].frame_index != frame.index:
                        yield number, None
                        number += 1
                    yield number, frame
                    number += 1
            while number <= end:
                yield number, None
                number += 1


async def _next(sent: asyncio.Queue[_Sent | None], sending: asyncio.Task[None]) -> _Sent | None:
    """What was sent next; raises what sending ended with."""
    getting = asyncio.ensure_future(sent.get())
    try:
        await asyncio.wait((getting, sending), return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            sending.result()  # it failed, or its last word is in the queue
        return await getting
    finally:
        getting.cancel()


def _edits(
    step: Step, frame_id: int, ids: itertools.count[int], size: Size
) -> list[segmenter_pb2.SegmentVideoEdit]:
    """What is said on a frame, those who go first."""
    removals = [
        segmenter_pb2.SegmentVideoEdit(
            edit_id=next(ids),
            frame_id=frame_id,
            remove=segmenter_pb2.ObjectRemoval(object_id=object_id),
        )
        for object_id in sorted(step.gone)
    ]
    return removals + [
        segmenter_pb2.SegmentVideoEdit(
            edit_id=next(ids), frame_id=frame_id, prompt=mask_prompt(object_id, rle, size)
        )
        for object_id, rle in step.seeds.items()
    ]
