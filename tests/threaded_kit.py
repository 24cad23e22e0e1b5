"""For tests that are not asyncio's: servers of it in a thread, and waiting for conditions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
_WITHIN_S = 60.0


class InThread(Generic[T]):
    """Entered, it gives what the async context manager gives."""

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> T:
        self._thread.start()
        entered = asyncio.run_coroutine_threadsafe(self._inner.__aenter__(), self._loop)
        return entered.result(_WITHIN_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = self._inner.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(left, self._loop).result(_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WITHIN_S)


def wait_until(holds: Callable[[], object], within_s: float = 30.0) -> None:
    """Return as soon as `holds()` is true; for tests and callbacks outside of an event loop.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not so within {within_s:g} s"
        time.sleep(0.005)
