"""Statuses: details, size, and what an unexpected exception turns into."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors
from kinemask_chassis.errors import ServiceError, Violation

TRAILER_LIMIT_BYTES = 8192
"""What an HTTP/2 peer takes unless it was told otherwise."""


def _detail(status: status_pb2.Status, kind: Any) -> Any:
    found = [kind() for _ in status.details]
    unpacked = [m for m, d in zip(found, status.details, strict=True) if d.Unpack(m)]
    assert len(unpacked) == 1, f"expected one {kind.__name__} in {status}"
    return unpacked[0]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (errors.invalid("box.x_min", "expected a number"), "INVALID_ARGUMENT", "INVALID_FIELD"),
        (errors.not_found("no model x"), "NOT_FOUND", "NOT_FOUND"),
        (
            errors.failed_precondition("pull it", reason="NO_WEIGHTS"),
            "FAILED_PRECONDITION",
            "NO_WEIGHTS",
        ),
        (errors.exhausted("full", "QUEUE_FULL", 0.25), "RESOURCE_EXHAUSTED", "QUEUE_FULL"),
        (errors.unavailable("leaving"), "UNAVAILABLE", "UNAVAILABLE"),
        (errors.data_loss("damaged token"), "DATA_LOSS", "DATA_DAMAGED"),
        (errors.aborted("newer frame", reason="FRAME_DROPPED"), "ABORTED", "FRAME_DROPPED"),
        (errors.deadline_exceeded("late"), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        (errors.unimplemented("not here"), "UNIMPLEMENTED", "UNIMPLEMENTED"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_every_constructor(error: ServiceError, code: str, reason: str) -> None:
    status = error.to_status()
    assert status.code == grpc.StatusCode[code].value[0]
    info = _detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason, "kinemask")


def test_violations_and_metadata_are_details() -> None:
    several = errors.invalid_fields([Violation("a", "expected b"), Violation("c", "expected d")])
    assert several.message == "a: expected b (and 1 more)"
    bad = _detail(several.to_status(), error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("a", "expected b"),
        ("c", "expected d"),
    ]
    info = _detail(errors.not_found("no", model="x").to_status(), error_details_pb2.ErrorInfo)
    assert dict(info.metadata) == {"model": "x"}


def test_invalid_needs_a_violation() -> None:
    with pytest.raises(ValueError, match="at least one violation"):
        errors.invalid_fields([])


@pytest.mark.parametrize("letter", ["x", "ä", "🎭", "\ud800"], ids=["1", "2", "4", "surrogate"])
def test_the_longest_status_still_fits_into_the_trailers(letter: str) -> None:
    long = letter * 5000
    error = ServiceError(
        grpc.StatusCode.INVALID_ARGUMENT,
        long,
        reason="INVALID_FIELD",
        violations=[Violation(long, long)] * 20,
        retry_after_s=1,
        metadata={f"key{n}": long for n in range(50)},
    )
    status = error.to_status()
    percent_encoded = 3 * len(status.message.encode())
    assert percent_encoded + len(status.SerializeToString()) * 4 / 3 < TRAILER_LIMIT_BYTES - 512
    left_out = int(_detail(status, error_details_pb2.ErrorInfo).metadata["violations_left_out"])
    shown = _detail(status, error_details_pb2.BadRequest).field_violations
    assert len(shown) + left_out == 20 and len(shown) >= 1


@pytest.mark.parametrize("exc", [ValueError("xyzzy"), KeyError("xyzzy"), MemoryError("xyzzy")])
def test_an_unexpected_exception_is_internal_and_leaks_nothing(exc: Exception) -> None:
    rpc_context.set_request_id("trace-1")
    status = errors.status_from_exception(exc)
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert b"xyzzy" not in status.SerializeToString()
    assert "trace-1" in status.message


def test_cancellation_is_left_alone() -> None:
    with pytest.raises(asyncio.CancelledError):
        errors.status_from_exception(asyncio.CancelledError())


def _downstream_error(*trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*trailers),
        details="full",
    )


def test_a_downstream_error_keeps_its_details() -> None:
    sent = errors.exhausted("full", "QUEUE_FULL", 0.25).to_status()
    raw = sent.SerializeToString()
    assert errors.status_from_exception(_downstream_error(("grpc-status-details-bin", raw))) == sent


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param((), id="none sent"),
        pytest.param((("grpc-status-details-bin", b"\xff\xff"),), id="damaged"),
        pytest.param((("grpc-status-details-bin", b""),), id="of another code"),
    ],
)
def test_a_downstream_error_without_details(trailers: tuple[tuple[str, bytes], ...]) -> None:
    status = errors.status_from_exception(_downstream_error(*trailers))
    assert (status.code, status.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "full")
    assert _detail(status, error_details_pb2.ErrorInfo).reason == "DOWNSTREAM_FAILED"
