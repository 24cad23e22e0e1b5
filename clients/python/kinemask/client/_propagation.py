"""A propagation as its caller sees it, for asyncio and for ordinary code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from kinemask import results
from kinemask.client import _kinds
from kinemask.client._inbox import EditAck, Walk
from kinemask.client._loop import LoopThread
from kinemask.client._stream import StreamCore

Core = StreamCore[results.SegmentedFrame]


class AsyncPropagation:
    """Masks carried over retained frames, while the stream goes on.

    Iterate for the frames as they come; iterating ends behind the last one, or where it was
    stopped. What nobody iterates over waits here.
    """

    def __init__(
        self, core: Core, walk: Walk[results.SegmentedFrame], future: asyncio.Future[EditAck]
    ) -> None:
        self._core = core
        self._walk = walk
        self._future = future

    async def next(self) -> results.SegmentedFrame | None:
        """The next frame; None behind the last one.

        Raises:
            KinemaskError: a frame is not retained any more, the engine cannot, the server has left
                (reason PROPAGATION_CUT), or the stream has ended.
        """
        await self._core.until(lambda: self._walk.steps or self._future.done())
        if self._walk.steps:
            return self._walk.steps.popleft()
        await asyncio.shield(self._future)
        return None

    async def __aiter__(self) -> AsyncIterator[results.SegmentedFrame]:
        while (step := await self.next()) is not None:
            yield step

    async def stop(self) -> None:
        """End it after the frame it is at; what has come stays valid. Too late is no error."""
        if not self._future.done():
            ended = self._core.edit(_kinds.video_stop(self._walk.edit_id))
            # It may end by itself before the stop comes there: then that is refused.
            await asyncio.wait([ended, self._future], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([self._future])

    @property
    def stopped(self) -> bool:
        """True once it was ended by `stop` before its last frame."""
        return self._walk.stopped

    @property
    def done(self) -> bool:
        """True once nothing more comes from the server."""
        return self._future.done()


class Propagation:
    """The same for ordinary code."""

    def __init__(self, loop: LoopThread, propagation: AsyncPropagation) -> None:
        self._loop = loop
        self._propagation = propagation

    def __iter__(self) -> Iterator[results.SegmentedFrame]:
        """Raises KinemaskError: as `AsyncPropagation.next`."""
        while (step := self._loop.run(self._propagation.next())) is not None:
            yield step

    def stop(self) -> None:
        """End it after the frame it is at; what has come stays valid. Too late is no error."""
        self._loop.run(self._propagation.stop())

    @property
    def stopped(self) -> bool:
        """True once it was ended by `stop` before its last frame."""
        return self._propagation.stopped

    @property
    def done(self) -> bool:
        """True once nothing more comes from the server."""
        return self._propagation.done


def propagation(core: Core, edit: Any) -> AsyncPropagation:
    """Hand a propagation over. Raises KinemaskError: the stream is over."""
    walk: Walk[results.SegmentedFrame] = Walk()
    future = core.edit(edit, walk)
    return AsyncPropagation(core, walk, future)
