"""Calls of a client, single ones and streams, for what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from kinemask.client._calls import Operation, ResultT, Settings
from kinemask.errors import RequestCancelledError, translated

ItemT = TypeVar("ItemT")


class RunOperation(Protocol):
    """A client's way to make a single call, tried again where nobody was there."""

    def __call__(
        self,
        operation: Operation[ResultT],
        timeout_s: float | None,
        request_id: str | None = None,
    ) -> ResultT: ...


@dataclass(frozen=True)
class Calls:
    """What `Videos` and `Jobs` call through."""

    run: RunOperation
    channel: grpc.Channel
    settings: Settings

    def single(
        self,
        stub: Callable[[Any], Any],
        method: str,
        request: Message,
        decode: Callable[[Any], ResultT],
        timeout_s: float | None = None,
    ) -> ResultT:
        """One answer; raises KinemaskError."""
        operation = Operation(stub, method, request, lambda answer, _: decode(answer))
        return self.run(operation, timeout_s)

    def stream(self, stub: Callable[[Any], Any], method: str, request: Message) -> Iterator[Any]:
        """One answer after another; raises KinemaskError. Closing it cancels the call."""
        request_id = self.settings.new_request_id()
        with translated(request_id):
            rpc = getattr(stub(self.channel), method)
            answers = rpc(request, metadata=self.settings.call_metadata(request_id))
            try:
                yield from answers
            finally:
                answers.cancel()

    def send(self, stub: Callable[[Any], Any], method: str, requests: Iterator[Message]) -> Any:
        """The answer to a stream of requests.

        Raises:
            KinemaskError: as the call; or whatever `requests` raises, which ends the call.
        """
        request_id = self.settings.new_request_id()
        failures: list[BaseException] = []

        def guarded() -> Iterator[Message]:
            # Taken in a thread of grpc's, where an error would only be printed.
            try:
                yield from requests
            except GeneratorExit:  # the call has ended before the requests did
                raise
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                failures.append(error)
                call.cancel()

        rpc = getattr(stub(self.channel), method)
        call = rpc.future(guarded(), metadata=self.settings.call_metadata(request_id))
        try:
            with translated(request_id):
                return call.result()
        except grpc.FutureCancelledError:
            raise failures[0] if failures else RequestCancelledError("cancelled") from None
        finally:
            call.cancel()
