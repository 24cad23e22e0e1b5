"""What tests of bidirectional rpcs share: a client that does only what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Details = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
)


class StreamClient:
    """One call, by hand: nothing is sent or read unless a test says so."""

    def __init__(
        self,
        method: Callable[..., Any],
        request_type: Callable[..., Message],
        timeout_s: float | None = None,
    ) -> None:
        """`method` is a stub's stream-stream method, such as `stub.SegmentVideo`."""
        self.call = method(timeout=timeout_s)
        self._request = request_type

    async def send(self, **message: object) -> None:
        """Send one request, such as `send(frame=...)`."""
        await self.call.write(self._request(**message))

    async def open(self, config: Message) -> Any:
        """Send the config; the `started` reply."""
        await self.send(config=config)
        return (await self.read("started")).started

    async def read(self, expected: str = "") -> Any:
        """The next response, of the expected kind where one is named.

        Raises:
            grpc.aio.AioRpcError: the rpc ended with an error.
            AssertionError: it ended well, or said something else.
        """
        response = await asyncio.wait_for(self.call.read(), 30)
        assert response is not grpc.aio.EOF, "the stream ended"
        found = response.WhichOneof("message")
        assert expected in ("", found), f"expected {expected}, found {response}"
        return response

    async def finish(self) -> list[Any]:
        """Send no more; everything that still comes."""
        await self.call.done_writing()
        return await self.rest()

    async def rest(self) -> list[Any]:
        """Everything that still comes."""
        responses = []
        while (response := await asyncio.wait_for(self.call.read(), 30)) is not grpc.aio.EOF:
            responses.append(response)
        return responses

    async def failure(self) -> status_pb2.Status:
        """Read on to the error that the rpc ends with; its rich status."""
        try:
            rest = await self.rest()
        except grpc.aio.AioRpcError as error:
            return status_of(error)
        raise AssertionError(f"expected an error, found the end after {rest}")


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status; grpc's own errors have none and get one without details."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it needs
    return status or status_pb2.Status(code=error.code().value[0], message=error.details() or "")


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == status.code)


def details_of(status: status_pb2.Status, kind: type[Any]) -> Any:
    """The status's detail of that type, None if there is none."""
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            packed.Unpack(detail)
            return detail
    return None


def reason_of(status: status_pb2.Status) -> str:
    info = details_of(status, error_details_pb2.ErrorInfo)
    return info.reason if info else ""


def kinds(responses: list[Any]) -> list[str]:
    return [response.WhichOneof("message") for response in responses]


def frame_answers(responses: list[Any]) -> list[tuple[str, int, int]]:
    """(kind, first frame id, last frame id) of every answer to frames, in order."""
    answers = []
    for response in responses:
        kind = response.WhichOneof("message")
        if kind in ("result", "error"):
            frame_id = getattr(response, kind).frame_id
            answers.append((kind, frame_id, frame_id))
        elif kind == "skipped":
            skipped = response.skipped
            answers.append((kind, skipped.first_frame_id, skipped.last_frame_id))
    return answers


async def eventually(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Return as soon as `holds()` is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"not so within {within_s:g} s"
        await asyncio.sleep(0.002)
