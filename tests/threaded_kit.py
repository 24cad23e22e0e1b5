"""Servers of asyncio for tests that are not: an async context manager in a thread with a loop."""

from __future__ import annotations

import asyncio
import threading
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
