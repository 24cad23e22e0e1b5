"""One rpc of a stream: its first exchange, reading, writing, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from kinemask.client._call_end import CallEnd, is_overwritten
from kinemask.config import StreamInfo
from kinemask.errors import (
    TRANSLATED,
    DeadlineExceededError,
    ErrorInfo,
    InternalError,
    KinemaskError,
    UnavailableError,
    from_grpc,
)
from kinemask.results import FrameAnswer

AnswerT = TypeVar("AnswerT", bound=FrameAnswer)
AnswerT_co = TypeVar("AnswerT_co", bound=FrameAnswer, covariant=True)

StreamCall = grpc.aio.StreamStreamCall[Any, Any]


class MakeFailed(Protocol[AnswerT_co]):
    """Makes the answer to a frame that has no result."""

    def __call__(
        self, *, frame_id: int, capture_time_us: int, error: KinemaskError, skipped: bool
    ) -> AnswerT_co: ...


@dataclass(frozen=True)
class StreamKind(Generic[AnswerT]):
    """What tells one bidirectional rpc from another: its messages and what becomes of them."""

    name: str
    request: Callable[..., Message]
    """The request message, from one of config, frame, edit, snapshot."""
    config: Callable[[bytes], Message]
    """The config message around a resume token."""
    info: Callable[[Any], StreamInfo]
    """From the `started` message."""
    result: Callable[[Any], AnswerT]
    """From the `result` message."""
    failed: MakeFailed[AnswerT]
    first_edit_id: int = 1
    """Edits are counted from here on."""


class Connection:
    """A running rpc whose errors are KinemaskErrors."""

    def __init__(self, call: StreamCall, request_id: str) -> None:
        self._call = call
        self._end = CallEnd(call)
        self._request_id = request_id

    async def open(self, config_request: Message, timeout_s: float | None) -> Any:
        """Send the config; returns the `started` message.

        Raises:
            KinemaskError: the service refused, is not there, or did not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.write(config_request)
                first = await self.read()
        except TimeoutError:
            raise DeadlineExceededError(
                f"the server did not answer the stream's config within {timeout_s:g} s",
                request_id=self._request_id,
            ) from None
        if first is None:
            raise self._ended("before it began")
        if first.WhichOneof("message") != "started":
            found = first.WhichOneof("message")
            raise InternalError(
                f"expected started as the server's first message, found {found}",
                request_id=self._request_id,
            )
        return first.started

    async def read(self) -> Any:
        """The next message; None once the server has ended the stream without an error."""
        try:
            message = await self._call.read()
        except asyncio.CancelledError:
            # grpc raises it too when a failed write has cancelled the call under the reader.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise await self._reason(None) from None
        except TRANSLATED as error:
            raise await self._reason(error) from error
        return None if message is grpc.aio.EOF else message

    async def write(self, message: Message) -> bool:
        """False if the rpc is over: reading says why."""
        try:
            await self._call.write(message)
        except TRANSLATED:
            return False
        return True

    async def done_writing(self) -> None:
        """Tell the server that nothing more comes."""
        try:
            await self._call.done_writing()
        except TRANSLATED:
            return  # over already: reading says why

    def close(self) -> None:
        self._call.cancel()

    async def _reason(self, error: BaseException | None) -> KinemaskError:
        if isinstance(error, grpc.aio.AioRpcError) and not is_overwritten(error):
            return from_grpc(error, self._request_id)
        sent = await self._end.sent_by_server()
        return (
            self._ended("while it was used") if sent is None else from_grpc(sent, self._request_id)
        )

    def _ended(self, when: str) -> KinemaskError:
        return UnavailableError(
            f"the server ended the stream {when}",
            info=ErrorInfo(reason="STREAM_ENDED"),
            request_id=self._request_id,
        )
