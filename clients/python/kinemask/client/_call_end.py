"""The status that a server ended an rpc with, even where grpc.aio forgets it.

grpc.aio (grpc issue 36066): when a server ends a stream while a message is being written to it,
the failed write replaces the server's status, which has often arrived already, by INTERNAL
"Internal error from Core". So the status is read the moment it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

T = TypeVar("T")

_OVERWRITTEN = "Internal error from Core"
_LATE_S = (0.0, 0.005, 0.02, 0.05)
"""Where the failed write came first, the status follows at once or never."""


def is_overwritten(error: grpc.aio.AioRpcError) -> bool:
    """True for a status that a failed write has made up."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _OVERWRITTEN


class CallEnd:
    """Watches one call."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._ended)

    async def sent_by_server(self) -> grpc.aio.AioRpcError | None:
        """The failure that the server has sent, for a call that is over; None if it is lost."""
        if self._first is not None and not is_overwritten(self._first):
            return self._first if self._first.code() is not grpc.StatusCode.OK else None
        for pause_s in _LATE_S:
            await asyncio.sleep(pause_s)
            found = self._status() if self._call.done() else None
            if found is not None and not is_overwritten(found):
                return found if found.code() is not grpc.StatusCode.OK else None
        return None

    def _ended(self, _: object) -> None:
        self._first = self._status()

    def _status(self) -> grpc.aio.AioRpcError | None:
        code = _now(self._call.code())
        details, trailers = _now(self._call.details()), _now(self._call.trailing_metadata())
        if code is None:
            return None
        return grpc.aio.AioRpcError(
            code, grpc.aio.Metadata(), trailers or grpc.aio.Metadata(), details
        )


def _now(work: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine that need not wait returns; None if it would have to."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    return None
