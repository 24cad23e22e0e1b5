"""What happens around every rpc a service serves: ids, deadlines, metrics, a log line, errors."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors
from kinemask_chassis.metrics import ServiceMetrics
from kinemask_chassis.validation import validate

# grpc hands messages of any type through the same doors; its classes are generic for mypy alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Behavior: TypeAlias = Callable[[Any, Any], Any]
Decode: TypeAlias = Callable[[bytes], Any]

_MAKERS: dict[tuple[bool, bool], tuple[str, Callable[..., Handler]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
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
        kind, make = _MAKERS[handler.request_streaming, handler.response_streaming]
        behavior: Behavior = getattr(handler, kind)
        decode: Decode | None = _strict(handler.request_deserializer)
        if decode is not None and not handler.request_streaming:
            # Decoded inside, so that bytes that are no message get a status of ours.
            behavior, decode = _validated(behavior, decode), None
        served = self._around(behavior, handler_call_details.method, handler.response_streaming)
        return make(served, decode, handler.response_serializer)

    def _around(self, behavior: Behavior, method: str, streaming: bool) -> Behavior:
        async def served(request: object, context: Context) -> object:
            rpc = _Rpc(self._metrics, method, streaming)
            rpc.begin(context)
            self._enter(rpc)
            try:
                return await rpc.serve(behavior, request, context)
            finally:
                self._leave(rpc)
                rpc.end(context)

        return served

    def _enter(self, rpc: _Rpc) -> None:
        if rpc.is_infrastructure:
            return
        self._active += 1
        self._idle.clear()

    def _leave(self, rpc: _Rpc) -> None:
        if rpc.is_infrastructure:
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

    async def serve(self, behavior: Behavior, request: object, context: Context) -> object:
        """Run the handler; whatever it raises ends the rpc with a status that has details."""
        try:
            response = await _answer(behavior(request, context), context)
            self._code = _code_set_on(context)
            return response
        except asyncio.CancelledError:
            if _is_cancelled():
                self._code = _why_cancelled()
                raise
            await self._fail(RuntimeError("something this rpc waited for was cancelled"), context)
        except grpc.aio.AbortError:
            self._code = _code_set_on(context)
            raise
        except Exception as error:  # noqa: BLE001 - all of them must become a status
            await self._fail(error, context)

    def end(self, context: Context) -> None:
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

    async def _fail(self, error: Exception, context: Context) -> NoReturn:
        status = errors.status_from_exception(error)
        self._code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        await errors.abort(context, status)


async def _answer(result: Any, context: Context) -> object:
    """Wait for a coroutine's response, or write an async generator's, one by one."""
    if inspect.isawaitable(result):
        return await result
    if not hasattr(result, "__aiter__"):
        return result  # stubs that raise, and other plain functions
    async with aclosing(result) as responses:
        async for response in responses:
            await context.write(response)
    return None


def _validated(behavior: Behavior, decode: Decode) -> Behavior:
    def serve(raw: bytes, context: Context) -> object:
        request = decode(raw)
        if isinstance(request, Message):
            validate(request)
        return behavior(request, context)

    return serve


def _strict(decode: Decode | None) -> Decode | None:
    """`decode`, with bytes that are no message answered as the client's mistake."""
    if decode is None:
        return None

    def decode_strictly(raw: bytes) -> object:
        try:
            return decode(raw)
        except DecodeError:
            raise errors.ServiceError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"expected a message of this rpc's request type, got {len(raw)} other bytes",
                reason="UNDECODABLE_MESSAGE",
            ) from None

    return decode_strictly


def _code_set_on(context: Context) -> grpc.StatusCode:
    """The code a handler set by hand; OK where it set none."""
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return _CODES.get(code or 0, grpc.StatusCode.UNKNOWN)


def _is_cancelled() -> bool:
    """Whether the rpc itself was cancelled, not merely something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _why_cancelled() -> grpc.StatusCode:
    remaining_s = rpc_context.remaining_s()
    expired = remaining_s is not None and remaining_s <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
