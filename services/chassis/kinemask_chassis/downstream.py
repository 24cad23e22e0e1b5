"""Calls to other services on behalf of the rpc being served: same request id, less time.

`client_interceptors` does it for every call of a channel. A long stream of frames is better opened
with `call_options`, because grpc.aio runs an intercepted stream's requests through a queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc_status import rpc_status

from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors

DEADLINE_MARGIN_S = 0.05
"""What a downstream call gets less than its caller has, so that the answer still gets through."""

Details: TypeAlias = grpc.aio.ClientCallDetails
Continue: TypeAlias = Callable[[Details, Any], Awaitable[Any]]


@dataclass(frozen=True)
class CallOptions:
    """What to open a downstream call with: `stub.Rpc(..., **options.as_arguments())`."""

    timeout_s: float | None
    metadata: tuple[tuple[str, str], ...]

    def as_arguments(self) -> dict[str, Any]:
        """The keyword arguments of a grpc stub's call."""
        return {"timeout": self.timeout_s, "metadata": self.metadata}


def call_options(
    timeout_s: float | None = None, margin_s: float = DEADLINE_MARGIN_S
) -> CallOptions:
    """The request id, and the sooner of `timeout_s` and the current deadline less the margin.

    Raises:
        ServiceError: DEADLINE_EXCEEDED if less than the margin is left.
    """
    request_id = rpc_context.request_id()
    metadata = ((rpc_context.REQUEST_ID_KEY, request_id),) if request_id else ()
    return CallOptions(_sooner(timeout_s, margin_s), metadata)


def client_interceptors(margin_s: float = DEADLINE_MARGIN_S) -> list[grpc.aio.ClientInterceptor]:
    """For `grpc.aio.insecure_channel(..., interceptors=...)`: one for each kind of rpc."""
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(margin_s) for kind in kinds]


def _sooner(timeout_s: float | None, margin_s: float) -> float | None:
    remaining_s = rpc_context.remaining_s()
    if remaining_s is None:
        return timeout_s
    left_s = remaining_s - margin_s
    if left_s <= 0:
        # grpc would still send a call whose timeout is 0, and race with its answer.
        raise errors.deadline_exceeded("no time was left for a call to another service")
    return left_s if timeout_s is None else min(timeout_s, left_s)


class _Forward:
    def __init__(self, margin_s: float) -> None:
        self._margin_s = margin_s

    def _forwarded(self, details: Details) -> Details:
        """The same call with the request id, unless it names one, and the deadline."""
        try:
            options = call_options(details.timeout, self._margin_s)
        except errors.ServiceError as error:
            raise _as_call_error(error) from None
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        for key, value in options.metadata:
            if not metadata.get_all(key):
                metadata.add(key, value)
        return grpc.aio.ClientCallDetails(
            details.method,
            options.timeout_s,
            metadata,
            details.credentials,
            details.wait_for_ready,
        )


def _as_call_error(error: errors.ServiceError) -> grpc.aio.AioRpcError:
    """The error a caller expects of a call, as though a server had answered with it."""
    status = rpc_status.to_status(error.to_status())
    trailers = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), trailers, details=error.message)


# grpc.aio takes one class for each kind of rpc: an object of several kinds is used as the first.
class _UnaryUnary(_Forward, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Continue, client_call_details: Details, request: Any
    ) -> Any:
        return await continuation(self._forwarded(client_call_details), request)


class _UnaryStream(_Forward, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continue, client_call_details: Details, request: Any
    ) -> Any:
        return await continuation(self._forwarded(client_call_details), request)


class _StreamUnary(_Forward, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continue, client_call_details: Details, request_iterator: Any
    ) -> Any:
        return await continuation(self._forwarded(client_call_details), request_iterator)


class _StreamStream(_Forward, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Continue, client_call_details: Details, request_iterator: Any
    ) -> Any:
        return await continuation(self._forwarded(client_call_details), request_iterator)
