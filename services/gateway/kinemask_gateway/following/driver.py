"""Runs frames through the live pipeline, a few at once and always in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from google.rpc import status_pb2
from kinemask.v1 import live_pb2, media_pb2
from kinemask_chassis.errors import ServiceError

from kinemask_gateway.live.association import Verdict
from kinemask_gateway.live.handler import LiveHandler
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.rhythm import LAG
from kinemask_gateway.live.stages import InFlight, Prepared

_AHEAD = 2
_BEHIND = LAG - _AHEAD
# Frames that are known before they are prepared, so that detections can begin early.
_SIGHT = 12
_SIGHT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Followed:
    """What came of a frame."""

    frame_id: int
    result: live_pb2.StreamResult | None
    """None if the frame itself could not be worked on."""
    failure: status_pb2.Status | None
    """Then, why."""
    detected: bool
    """True if a detector looked at it."""
    verdict: Verdict | None
    """Then, what came of it."""


_Preparing = tuple[media_pb2.Frame, asyncio.Task[Prepared]]
_Finishing = tuple[media_pb2.Frame, Prepared, asyncio.Task[live_pb2.StreamResult]]


class FrameDriver:
    """Frames in, results out, in order.

    Invariant: when a frame is prepared, all frames up to `LAG` before it are finished. With the
    rhythm's own lag, what a frame is detected on does not depend on who is quick.
    """

    def __init__(
        self, handler: LiveHandler, edits: Mapping[int, Sequence[live_pb2.StreamEdit]]
    ) -> None:
        """`edits`: by the frame they are about; applied right before it."""
        self._handler = handler
        self._edits = edits
        self._coming: deque[media_pb2.Frame] = deque()
        self._ahead: deque[_Preparing] = deque()
        self._behind: deque[_Finishing] = deque()

    async def run(self, frames: AsyncIterator[media_pb2.Frame]) -> AsyncGenerator[Followed, None]:
        """Every frame's outcome; all are finished when it ends.

        Raises:
            ServiceError: an edit cannot be applied.
        """
        try:
            async with aclosing(self._foreseen(frames)) as coming:
                async for frame in coming:
                    self._ahead.append((frame, asyncio.create_task(self._handler.prepare(frame))))
                    if len(self._ahead) >= _AHEAD:
                        await self._step()
                    while len(self._behind) > _BEHIND:
                        yield await self._finished()
            while self._ahead:
                await self._step()
                yield await self._finished()
            while self._behind:
                yield await self._finished()
        finally:
            await self._drop()

    async def _foreseen(
        self, frames: AsyncIterator[media_pb2.Frame]
    ) -> AsyncGenerator[media_pb2.Frame, None]:
        """The frames, some of them told to the handler before."""
        async for frame in frames:
            self._handler.expect(frame)
            self._coming.append(frame)
            room = _SIGHT_BYTES // max(frame.image.ByteSize(), 1)
            while len(self._coming) > min(_SIGHT, room):
                yield self._coming.popleft()
        while self._coming:
            yield self._coming.popleft()

    async def _step(self) -> None:
        frame, preparing = self._ahead.popleft()
        try:
            prepared = await preparing
        except ServiceError as error:
            self._behind.append((frame, _nothing(), asyncio.create_task(_failed(error))))
            return
        for edit in self._edits.get(frame.frame_id, ()):
            await self._handler.apply(edit, frame.frame_id, prepared)
        raw: InFlight = await self._handler.step(frame, prepared)
        task = asyncio.create_task(self._handler.finish(frame, raw))
        self._behind.append((frame, prepared, task))

    async def _finished(self) -> Followed:
        frame, prepared, task = self._behind.popleft()
        detected, verdict = prepared.detection is not None, prepared.verdict
        try:
            return Followed(frame.frame_id, await task, None, detected, verdict)
        except ServiceError as error:
            return Followed(frame.frame_id, None, error.to_status(), detected, verdict)

    async def _drop(self) -> None:
        tasks = [entry[1] for entry in self._ahead] + [entry[2] for entry in self._behind]
        self._ahead.clear()
        self._behind.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _nothing() -> Prepared:
    return Prepared(0, 0, FrameReports())


async def _failed(error: ServiceError) -> live_pb2.StreamResult:
    raise error
