"""What happens around every rpc a service serves: ids, deadlines, metrics, a log line, errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import structlog
from google.rpc.status_pb2 import Status

from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors
from kinemask_chassis.handlers import (
    MAKERS,
    Behavior,
    Context,
    Decode,
    Handler,
    answer,
    strict,
    validated,
)
from kinemask_chassis.metrics import ServiceMetrics

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OUR_FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}

_log = structlog.get_logger(__name__)


class ServiceInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all four kinds of rpc, which must be async.

    A unary request is validated before its handler sees it; the messages of a stream are the
    handler's to validate, because a bad frame is answered in-band.

    Invariant: `active` is the number of rpcs being served, health and reflection left out.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics = metrics
        self._active = 0
        self._watchers: set[_Rpc] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """Rpcs being served now."""
        return self._active

    async def wait_idle(self) -> None:
        """Return once no rpc is being served."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Find the handler of this rpc and put what all rpcs share around it."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # grpc answers UNIMPLEMENTED
        kind, make = MAKERS[handler.request_streaming, handler.response_streaming]
        behavior: Behavior = getattr(handler, kind)
        decode: Decode | None = strict(handler.request_deserializer)
        if decode is not None and not handler.request_streaming:
            # Decoded inside, so that bytes that are no message get a status of ours.
            behavior, decode = validated(behavior, decode), None
        served = self._around(behavior, handler_call_details.method, handler.response_streaming)
        return make(served, decode, handler.response_serializer)

    def _around(self, behavior: Behavior, method: str, streaming: bool) -> Behavior:
        async def served(request: object, context: Context) -> object:
            rpc = _Rpc(self._metrics, method, streaming)
            rpc.begin(context)
            self._enter(rpc)
            try:
                response, failure = await rpc.serve(behavior, request, context)
            finally:
                self._leave(rpc)
                rpc.end()
            # Only now: to a client that does not read, a status waits behind the unread messages.
            if failure is not None:
                await _end_with(failure, context)
            return response

        return served

    @property
    def has_watchers(self) -> bool:
        """Whether health is being watched, or a reflection stream is open."""
        return bool(self._watchers)

    def dismiss_watchers(self) -> None:
        """End health's watches and reflection streams, which would never end by themselves."""
        for rpc in self._watchers:
            rpc.dismiss()

    def _enter(self, rpc: _Rpc) -> None:
        if rpc.is_infrastructure:
            self._watchers.add(rpc)
            return
        self._active += 1
        self._idle.clear()

    def _leave(self, rpc: _Rpc) -> None:
        if rpc.is_infrastructure:
            self._watchers.discard(rpc)
            return
        self._active -= 1
        if self._active == 0:
            self._idle.set()


class _Rpc:
    """One rpc: its id and deadline while it runs, its code and duration once it has ended."""

    def __init__(self, metrics: ServiceMetrics, method: str, streaming: bool) -> None:
        self._metrics = metrics
        self._method = method
        self._streaming = streaming
        self._started_s = time.monotonic()
        self._code = grpc.StatusCode.OK
        self._task = asyncio.current_task()
        self._dismissed = False
        self.is_infrastructure = method.startswith("/grpc.")

    def begin(self, context: Context) -> None:
        """Bind the request id and the deadline to this task, and count."""
        offered = dict(context.invocation_metadata() or ()).get(rpc_context.REQUEST_ID_KEY)
        request_id = rpc_context.accepted_request_id(offered)
        rpc_context.set_request_id(request_id)
        # Trailing, not initial: a refusal stays a trailers-only answer, which clients may retry.
        context.set_trailing_metadata(((rpc_context.REQUEST_ID_KEY, request_id),))
        remaining_s: float | None = context.time_remaining()
        if remaining_s is not None:
            rpc_context.set_deadline_s(self._started_s + remaining_s)
        self._metrics.rpc_started.labels(self._method).inc()
        if self._streaming:
            self._metrics.active_streams.labels(self._method).inc()

    async def serve(
        self, behavior: Behavior, request: object, context: Context
    ) -> tuple[object, Status | None]:
        """Run the handler: its response, or the status that whatever it raised becomes."""
        try:
            response = await answer(behavior(request, context), context)
            self._code = _code_set_on(context)
            return response, None
        except asyncio.CancelledError:
            return None, self._cancelled()
        except grpc.aio.AbortError:
            self._code = _code_set_on(context)
            raise
        except grpc.aio.InternalError:
            # What was written reached nobody: the client has gone, or its deadline is over.
            self._code = _why_cancelled()
            raise asyncio.CancelledError from None  # grpc logs any other error
        except Exception as error:  # noqa: BLE001 - all of them must become a status
            return None, self._failed(error)

    def dismiss(self) -> None:
        """End the rpc from this side: UNAVAILABLE."""
        self._dismissed = True
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Count, time and log."""
        duration_s = time.monotonic() - self._started_s
        self._metrics.rpc_handled.labels(self._method, self._code.name).inc()
        self._metrics.rpc_seconds.labels(self._method).observe(duration_s)
        if self._streaming:
            self._metrics.active_streams.labels(self._method).dec()
        log = _log.debug if self.is_infrastructure else _log.info
        if self._code in _OUR_FAULTS:
            log = _log.error
        duration_ms = round(duration_s * 1e3, 3)
        log("rpc", method=self._method, code=self._code.name, duration_ms=duration_ms)

    def _cancelled(self) -> Status:
        """The status of an rpc in which a CancelledError came up.

        Raises:
            asyncio.CancelledError: the client has gone or its deadline is over; nobody listens.
        """
        assert self._task is not None
        if self._dismissed:
            self._task.uncancel()
            return self._failed(errors.unavailable("this replica is leaving"))
        if self._task.cancelling():
            self._code = _why_cancelled()
            raise asyncio.CancelledError
        return self._failed(RuntimeError("something this rpc waited for was cancelled"))

    def _failed(self, error: Exception) -> Status:
        status = errors.status_from_exception(error)
        self._code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        return status


async def _end_with(status: Status, context: Context) -> NoReturn:
    try:
        await errors.abort(context, status)
    except grpc.aio.InternalError:
        # The client left before the status reached it: as good as said, and no news to log.
        raise asyncio.CancelledError from None


def _code_set_on(context: Context) -> grpc.StatusCode:
    """The code a handler set by hand; OK where it set none."""
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return _CODES.get(code or 0, grpc.StatusCode.UNKNOWN)


def _why_cancelled() -> grpc.StatusCode:
    remaining_s = rpc_context.remaining_s()
    expired = remaining_s is not None and remaining_s <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
