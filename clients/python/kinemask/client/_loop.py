"""One event loop in a thread of its own, for every synchronous stream of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for threads that have no event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="kinemask-streams", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """The coroutine's result; it is cancelled if the caller is interrupted or out of time.

        Raises:
            TimeoutError: it took longer than `timeout_s`.
        """
        future = self.submit(work)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises, called inside the loop."""

        async def called() -> T:
            return function()

        return self.run(called())


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared_loop() -> LoopThread:
    """The process's loop thread, started when it is first needed."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared
