"""Every error the SDK raises, and the one table from a gRPC status to it.

    KinemaskError
    ├── InvalidArgumentError       INVALID_ARGUMENT, OUT_OF_RANGE; .violations name the fields
    ├── UnauthenticatedError       UNAUTHENTICATED
    ├── PermissionDeniedError      PERMISSION_DENIED
    ├── NotFoundError              NOT_FOUND
    ├── AlreadyExistsError         ALREADY_EXISTS
    ├── FailedPreconditionError    FAILED_PRECONDITION: do what the message says first
    │   └── StreamClosedError      a stream used after its end (raised here, never by a server)
    ├── AbortedError               ABORTED: given up on purpose, such as a dropped frame
    ├── ResourceExhaustedError     RESOURCE_EXHAUSTED: no room now
    ├── UnavailableError           UNAVAILABLE: nobody serves now
    ├── DeadlineExceededError      DEADLINE_EXCEEDED
    ├── RequestCancelledError      CANCELLED
    ├── UnimplementedError         UNIMPLEMENTED
    ├── DataLossError              DATA_LOSS: bytes that should be whole are not
    └── InternalError              INTERNAL, UNKNOWN and every code without a class

Wrong arguments that never leave the process (an array of the wrong shape, say) are ValueErrors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import grpc

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

DetailT = TypeVar("DetailT", bound="Message")

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that does not hold what it should."""

    field: str
    """Path from the request, such as `options.prompts[3]`."""
    description: str
    """What was expected and what came."""


@dataclass(frozen=True)
class ErrorInfo:
    """Everything a status says beside its code and message."""

    reason: str = ""
    """UPPER_SNAKE and stable, such as `UNKNOWN_MODEL`; empty if the server gave none."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Values that belong to the reason, such as `available`."""
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float | None = None


class KinemaskError(Exception):
    """Something a service answered, or the way to it failed."""

    default_code = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        info: ErrorInfo | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        info = info or ErrorInfo()
        self.message = message
        self.code = code or self.default_code
        """The gRPC status code."""
        self.reason = info.reason
        """UPPER_SNAKE and stable; empty if the server gave none."""
        self.details = dict(info.details)
        """Values that belong to the reason."""
        self.violations = info.violations
        """The fields that were wrong, for INVALID_ARGUMENT."""
        self.retry_after_s = info.retry_after_s
        """Seconds after which the same call may succeed; None if the server named none."""
        self.request_id = request_id or self.details.get("request_id", "")
        """Names the call in every service's log; empty for an error found here."""

    def __str__(self) -> str:
        facts = [self.code.name, self.reason, self.request_id and f"request {self.request_id}"]
        return f"{self.message} [{', '.join(fact for fact in facts if fact)}]"


class InvalidArgumentError(KinemaskError):
    """The request is wrong whatever the state of the service; `violations` says where."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class UnauthenticatedError(KinemaskError):
    """No valid credentials came with the call."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDeniedError(KinemaskError):
    """The caller may not do this."""

    default_code = grpc.StatusCode.PERMISSION_DENIED


class NotFoundError(KinemaskError):
    """What was named is not there: a model, an object, a frame that has gone."""

    default_code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(KinemaskError):
    """What was to be made is there already."""

    default_code = grpc.StatusCode.ALREADY_EXISTS


class FailedPreconditionError(KinemaskError):
    """Something has to be done first, such as fetching a model's weights."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class StreamClosedError(FailedPreconditionError):
    """A stream was used after it was closed or told that no frame comes any more."""


class AbortedError(KinemaskError):
    """Given up on purpose: a frame dropped for a newer one, say."""

    default_code = grpc.StatusCode.ABORTED


class ResourceExhaustedError(KinemaskError):
    """No room now; `retry_after_s` says when there may be."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class UnavailableError(KinemaskError):
    """Nobody serves the call now."""

    default_code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceededError(KinemaskError):
    """The time given was over first."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


class RequestCancelledError(KinemaskError):
    """The call was cancelled."""

    default_code = grpc.StatusCode.CANCELLED


class UnimplementedError(KinemaskError):
    """The service, or the engine it runs, cannot do this."""

    default_code = grpc.StatusCode.UNIMPLEMENTED


class DataLossError(KinemaskError):
    """Bytes that should be whole are not, such as a damaged resume token."""

    default_code = grpc.StatusCode.DATA_LOSS


class InternalError(KinemaskError):
    """A fault of the service; its log has more under `request_id`."""

    default_code = grpc.StatusCode.INTERNAL


ERRORS: Mapping[grpc.StatusCode, type[KinemaskError]] = {
    grpc.StatusCode.CANCELLED: RequestCancelledError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: DataLossError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}
"""The one table: what a status code is raised as."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: Status, request_id: str = "") -> KinemaskError:
    """The exception of a `google.rpc.Status`, such as those inside results.

    Raises:
        ValueError: the status is OK, so there is nothing to raise.
    """
    if status.code == 0:
        raise ValueError("expected the status of a failure, found OK")
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _build(code, status.message, _info(status), request_id)


def from_grpc(error: BaseException, request_id: str = "") -> KinemaskError:
    """The exception for whatever grpc raised.

    Rpc errors keep their status and its details. A stream that the server has ended raises
    `asyncio.InvalidStateError` on write, and a closed channel ValueError or UsageError: both
    become part of the tree. A KinemaskError is returned as it is.
    """
    if isinstance(error, KinemaskError):
        return error
    if isinstance(error, grpc.RpcError):
        return _from_rpc_error(error, request_id)
    if isinstance(error, asyncio.InvalidStateError):
        info = ErrorInfo(reason="STREAM_ENDED")
        return UnavailableError("the server ended the stream", info=info, request_id=request_id)
    if isinstance(error, (grpc.aio.UsageError, ValueError)):
        info = ErrorInfo(reason="CLIENT_CLOSED")
        return StreamClosedError(str(error), info=info, request_id=request_id)
    return InternalError(f"{type(error).__name__}: {error}", request_id=request_id)


TRANSLATED = (
    grpc.RpcError,
    asyncio.InvalidStateError,
    grpc.aio.UsageError,
    grpc.aio.InternalError,
)
"""What can escape grpc while a call runs."""


@contextmanager
def translated(request_id: str = "") -> Iterator[None]:
    """Raise what grpc raises inside as KinemaskErrors."""
    try:
        yield
    except TRANSLATED as error:
        raise from_grpc(error, request_id) from error


def _from_rpc_error(error: grpc.RpcError, request_id: str) -> KinemaskError:
    # Only errors that are calls too know their status; grpc raises no others once a call runs.
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        return InternalError(str(error), request_id=request_id)
    code = error.code()
    status = _rich_status(error.trailing_metadata() or ())
    if status is not None and status.code == code.value[0]:
        return from_status(status, request_id)
    message = error.details() or f"the call ended with {code.name}"
    return _build(code, message, ErrorInfo(), request_id)


def _rich_status(trailers: Sequence[tuple[str, str | bytes]] | object) -> Status | None:
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    for key, value in trailers if isinstance(trailers, (tuple, list, grpc.aio.Metadata)) else ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:  # a proxy may have mangled it: code and message are still good
                return None
    return None


def _info(status: Status) -> ErrorInfo:
    from google.rpc import error_details_pb2 as rpc_details

    info = _detail(status, rpc_details.ErrorInfo)
    bad = _detail(status, rpc_details.BadRequest)
    retry = _detail(status, rpc_details.RetryInfo)
    fields = bad.field_violations if bad else ()
    delay = retry.retry_delay if retry else None
    return ErrorInfo(
        reason=info.reason if info else "",
        details=dict(info.metadata) if info else {},
        violations=tuple(FieldViolation(entry.field, entry.description) for entry in fields),
        retry_after_s=delay.seconds + delay.nanos / 1e9 if delay else None,
    )


def _detail(status: Status, kind: type[DetailT]) -> DetailT | None:
    """The first detail of this kind that can be read."""
    from google.protobuf.message import DecodeError

    for packed in status.details:
        found = kind()
        if packed.type_url.rpartition("/")[2] == kind.DESCRIPTOR.full_name:
            try:
                packed.Unpack(found)
            except DecodeError:  # damaged on its way: code and message are still good
                continue
            return found
    return None


def _build(code: grpc.StatusCode, message: str, info: ErrorInfo, request_id: str) -> KinemaskError:
    return ERRORS.get(code, InternalError)(message, code=code, info=info, request_id=request_id)
