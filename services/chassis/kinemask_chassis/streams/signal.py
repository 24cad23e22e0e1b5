"""Waiting until something holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """Tasks of one event loop wait until a condition holds.

    Whoever changes what a condition looks at calls `changed`, and every waiter looks again.
    """

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], object]) -> None:
        """Return at once if `holds()` is true, otherwise as soon as it is."""
        while not holds():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
