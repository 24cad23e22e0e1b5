"""Waiting until something holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """Tasks of one event loop wait for conditions; whoever changes one says `changed`."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def changed(self) -> None:
        """Make every waiter look again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, holds: Callable[[], object]) -> None:
        """Return once `holds()` is true, at once if it is."""
        while not holds():
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
