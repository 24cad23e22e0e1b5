"""Blocking work of one stream or request, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

ArgsT = ParamSpec("ArgsT")
ValueT = TypeVar("ValueT")

_closers: set[asyncio.Task[None]] = set()


class OverError(RuntimeError):
    """Work was to begin after the end."""


class OffLoop:
    """Runs blocking work on shared threads, and knows when the last of it is over.

    Whoever waits may be cancelled at any time; work that has begun goes on in its thread, and work
    that has not begun never does once `close` was called.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._running: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def run(
        self, work: Callable[ArgsT, ValueT], *args: ArgsT.args, **kwargs: ArgsT.kwargs
    ) -> ValueT:
        """`work(*args)` in a thread."""

        def unless_closed() -> ValueT:
            if self._closed:
                raise OverError("closed before this work began")
            return work(*args, **kwargs)

        loop = asyncio.get_running_loop()
        return await self._shielded(loop.run_in_executor(self._executor, unless_closed))

    async def to_the_end(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        """Await a coroutine that must not be cancelled half-way."""
        return await self._shielded(asyncio.ensure_future(work))

    def close(self, then: Callable[[], None]) -> None:
        """Begin nothing more; call `then` when what runs now has ended. Does not wait for it."""
        self._closed = True
        closer = asyncio.ensure_future(self._close(then))
        _closers.add(closer)
        closer.add_done_callback(_closers.discard)

    async def _close(self, then: Callable[[], None]) -> None:
        if self._running:
            await asyncio.wait(self._running)
        then()

    async def _shielded(self, future: asyncio.Future[ValueT]) -> ValueT:
        self._running.add(future)
        future.add_done_callback(self._over)
        return await asyncio.shield(future)

    def _over(self, future: asyncio.Future[Any]) -> None:
        self._running.discard(future)
        if not future.cancelled():
            future.exception()  # looked at: nobody may be waiting for it any more
