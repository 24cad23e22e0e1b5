"""Who hears how far a propagation is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from kinemask.v1 import annotations_pb2 as pb

_QUEUED_ANSWERS = 64
_Queue = asyncio.Queue[pb.PropagateResponse]


class Followers:
    """Tells everybody the same; one that reads slowly is waited for, within a bound."""

    def __init__(self) -> None:
        self._queues: set[_Queue] = set()
        self._ended = asyncio.Event()

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._queues)

    @property
    def full(self) -> bool:
        """Whether somebody has to be waited for."""
        return any(queue.full() for queue in self._queues)

    async def tell(self, message: pb.PropagateResponse, *, wait: bool) -> None:
        """Tell all; without `wait`, those who have no room miss it."""
        for queue in list(self._queues):
            if wait:
                await queue.put(message)
            elif not queue.full():
                queue.put_nowait(message)

    def end(self) -> None:
        """Nothing more is told; listeners end once they have heard all."""
        self._ended.set()

    async def listen(self) -> AsyncGenerator[pb.PropagateResponse, None]:
        """Everything that is told from now on, until the end."""
        queue: _Queue = asyncio.Queue(_QUEUED_ANSWERS)
        self._queues.add(queue)
        try:
            while (message := await self._next(queue)) is not None:
                yield message
        finally:
            self._queues.discard(queue)
            while not queue.empty():  # whoever waits for room in it goes on
                queue.get_nowait()

    async def _next(self, queue: _Queue) -> pb.PropagateResponse | None:
        getting = asyncio.ensure_future(queue.get())
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((getting, ending), return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            ending.cancel()
