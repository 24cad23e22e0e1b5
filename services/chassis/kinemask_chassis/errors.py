"""Errors a client is meant to see, and how any exception becomes a `google.rpc.Status`.

Raise a `ServiceError` (through the small constructors below) for what a client can act on.
Anything else that escapes a handler is a fault of ours: INTERNAL, a request id, nothing leaked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NoReturn, Protocol

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from kinemask_chassis import context as rpc_context
from kinemask_chassis.status_details import (
    MAX_MESSAGE_BYTES,
    bad_request,
    cut,
    duration,
    metadata_that_fits,
    violations_that_fit,
)
from kinemask_chassis.status_details import (
    Violation as Violation,
)

DOMAIN = "kinemask"
_log = structlog.get_logger(__name__)


class ServiceError(Exception):
    """An error with a gRPC code, a machine-readable reason and whatever helps the client."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str,
        violations: Iterable[Violation] = (),
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
        domain: str = DOMAIN,
    ) -> None:
        """`reason` is UPPER_SNAKE; `retry_after_s` becomes RetryInfo, `metadata` ErrorInfo's."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})
        self.domain = domain

    def to_status(self) -> Status:
        """The `google.rpc.Status` with ErrorInfo, then BadRequest and RetryInfo where they apply.

        Long texts are cut so that the status fits into a response's trailers; ErrorInfo's metadata
        then says under `violations_left_out` how many violations had no room.
        """
        shown = violations_that_fit(self.violations)
        left_out = len(self.violations) - len(shown)
        extra = {"violations_left_out": str(left_out)} if left_out else {}
        number: int = self.code.value[0]
        status = Status(code=number, message=cut(self.message, MAX_MESSAGE_BYTES))
        info = ErrorInfo(
            reason=self.reason,
            domain=self.domain,
            metadata=metadata_that_fits(self.metadata) | extra,
        )
        status.details.add().Pack(info)
        if shown:
            status.details.add().Pack(bad_request(shown))
        if self.retry_after_s is not None:
            status.details.add().Pack(RetryInfo(retry_delay=duration(self.retry_after_s)))
        return status


def invalid(field: str, description: str, *, reason: str = "INVALID_FIELD") -> ServiceError:
    """INVALID_ARGUMENT about one field of the request."""
    return invalid_fields([Violation(field, description)], reason=reason)


def invalid_fields(
    violations: Iterable[Violation], *, reason: str = "INVALID_FIELD"
) -> ServiceError:
    """INVALID_ARGUMENT about several fields; the message names the first.

    Raises:
        ValueError: there are no violations.
    """
    found = tuple(violations)
    if not found:
        raise ValueError("expected at least one violation, got none")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    message = f"{found[0].field}: {found[0].description}{more}"
    return ServiceError(grpc.StatusCode.INVALID_ARGUMENT, message, reason=reason, violations=found)


def not_found(message: str, *, reason: str = "NOT_FOUND", **metadata: str) -> ServiceError:
    """NOT_FOUND: the thing that was named is not there."""
    return ServiceError(grpc.StatusCode.NOT_FOUND, message, reason=reason, metadata=metadata)


def failed_precondition(message: str, *, reason: str, **metadata: str) -> ServiceError:
    """FAILED_PRECONDITION: something must be done first; the message says what."""
    code = grpc.StatusCode.FAILED_PRECONDITION
    return ServiceError(code, message, reason=reason, metadata=metadata)


def exhausted(message: str, reason: str, retry_after_s: float | None = None) -> ServiceError:
    """RESOURCE_EXHAUSTED: no room now; the same call may succeed after `retry_after_s`."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    return ServiceError(code, message, reason=reason, retry_after_s=retry_after_s)


def unavailable(
    message: str, *, reason: str = "UNAVAILABLE", retry_after_s: float | None = None
) -> ServiceError:
    """UNAVAILABLE: this replica, or one it needs, cannot serve now."""
    code = grpc.StatusCode.UNAVAILABLE
    return ServiceError(code, message, reason=reason, retry_after_s=retry_after_s)


def data_loss(message: str, *, reason: str = "DATA_DAMAGED") -> ServiceError:
    """DATA_LOSS: bytes that should be whole are not, such as a damaged resume token."""
    return ServiceError(grpc.StatusCode.DATA_LOSS, message, reason=reason)


def aborted(message: str, *, reason: str) -> ServiceError:
    """ABORTED: given up on purpose, such as a frame dropped for a newer one."""
    return ServiceError(grpc.StatusCode.ABORTED, message, reason=reason)


def cancelled(message: str, *, reason: str) -> ServiceError:
    """CANCELLED: the client itself asked for the end."""
    return ServiceError(grpc.StatusCode.CANCELLED, message, reason=reason)


def deadline_exceeded(message: str, *, reason: str = "DEADLINE_EXCEEDED") -> ServiceError:
    """DEADLINE_EXCEEDED: the time the client gave was over before the work began or ended."""
    return ServiceError(grpc.StatusCode.DEADLINE_EXCEEDED, message, reason=reason)


def unimplemented(message: str, *, reason: str = "UNIMPLEMENTED") -> ServiceError:
    """UNIMPLEMENTED: the rpc, or what it asks for, is not built here."""
    return ServiceError(grpc.StatusCode.UNIMPLEMENTED, message, reason=reason)


def status_from_exception(exc: BaseException) -> Status:
    """What a client gets for `exc`.

    A ServiceError is taken as it is, a downstream call's error keeps its status, an rpc that is
    not written yet is UNIMPLEMENTED. Anything else, ValueError too, is a fault of ours: logged
    with its traceback and answered as INTERNAL with the request id alone.

    Raises:
        asyncio.CancelledError: `exc` is one; cancellation is nobody's error.
    """
    if isinstance(exc, asyncio.CancelledError):
        raise exc
    if isinstance(exc, ServiceError):
        return exc.to_status()
    if isinstance(exc, grpc.aio.AioRpcError):
        return _downstream_status(exc)
    if isinstance(exc, NotImplementedError):  # what generated servicers raise
        return unimplemented("this rpc is not implemented by this service").to_status()
    return _internal_status(exc)


def from_status(status: Status) -> ServiceError:
    """The ServiceError that `status` was made of, to pass on what another service said."""
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            detail.Unpack(known)
    code = next(c for c in grpc.StatusCode if c.value[0] == status.code)
    violations = [Violation(v.field, v.description) for v in bad.field_violations]
    after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return ServiceError(
        code,
        status.message,
        reason=info.reason or "DOWNSTREAM_FAILED",
        violations=violations,
        retry_after_s=after_s or None,
        metadata=dict(info.metadata),
        domain=info.domain or DOMAIN,
    )


class Abortable(Protocol):
    """The part of `grpc.aio.ServicerContext` that `abort` needs."""

    async def abort(
        self, code: grpc.StatusCode, details: str = ..., trailing_metadata: _Trailers = ...
    ) -> NoReturn: ...

    def trailing_metadata(self) -> object: ...


_Trailers = tuple[tuple[str, str | bytes], ...]


async def abort(context: Abortable, error: BaseException | Status) -> NoReturn:
    """End the rpc with the error's status and details; trailers set before are kept."""
    status = error if isinstance(error, Status) else status_from_exception(error)
    rich = rpc_status.to_status(status)
    already = context.trailing_metadata()
    kept = tuple(already) if isinstance(already, tuple) else ()
    await context.abort(rich.code, rich.details, (*kept, *rich.trailing_metadata))


def _internal_status(exc: BaseException) -> Status:
    request_id = rpc_context.request_id() or rpc_context.accepted_request_id(None)
    _log.error("unexpected_error", error_id=request_id, exc_info=exc)
    return ServiceError(
        grpc.StatusCode.INTERNAL,
        f"internal error; the server's log has more under request id {request_id}",
        reason="INTERNAL",
        metadata={"request_id": request_id},
    ).to_status()


def _downstream_status(exc: grpc.aio.AioRpcError) -> Status:
    """The status of a call to another service, with its details if it sent any."""
    for key, value in exc.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                status = Status.FromString(value)
            except DecodeError:  # a proxy may have mangled it: code and message are still good
                break
            if status.code == exc.code().value[0]:
                return status
    return ServiceError(
        exc.code(), exc.details() or "a service behind this one failed", reason="DOWNSTREAM_FAILED"
    ).to_status()
