"""The status table, and everything grpc can raise, as the SDK's exceptions."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedAny
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from kinemask import errors
from kinemask.client._call_end import CallEnd

from tests.client.client_fakes import rich_status


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: str(code.name))
def test_every_code_has_one_class(code: grpc.StatusCode) -> None:
    if code is grpc.StatusCode.OK:
        assert code not in errors.ERRORS
        return
    error = errors.from_status(status_pb2.Status(code=code.value[0], message="m"))
    assert type(error) is errors.ERRORS[code]
    assert error.code is code


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"── (\w+)", errors.__doc__ or ""))
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.KinemaskError)
    }
    assert drawn == classes - {"KinemaskError"}


def test_details_become_attributes() -> None:
    status = rich_status(
        grpc.StatusCode.INVALID_ARGUMENT, "expected a, found b", "INVALID_FIELD", 1.5, "x.y[0]"
    )
    error = errors.from_status(status, request_id="r1")
    assert isinstance(error, errors.InvalidArgumentError)
    assert error.violations == (errors.FieldViolation("x.y[0]", "expected a, found b"),)
    assert (error.reason, error.retry_after_s) == ("INVALID_FIELD", 1.5)
    assert error.details == {"hint": "h"}
    assert str(error) == "expected a, found b [INVALID_ARGUMENT, INVALID_FIELD, request r1]"


def test_an_ok_status_is_no_error() -> None:
    with pytest.raises(ValueError, match="found OK"):
        errors.from_status(status_pb2.Status())


@given(code=st.integers(-5, 40), url=st.sampled_from(["ErrorInfo", "RetryInfo", "X"]), raw=...)
def test_damaged_details_never_hide_the_error(code: int, url: str, raw: bytes) -> None:
    status = status_pb2.Status(code=code or 1, message="m")
    status.details.append(PackedAny(type_url=f"type.googleapis.com/google.rpc.{url}", value=raw))
    assert errors.from_status(status).message == "m"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        pytest.param(asyncio.InvalidStateError("over"), errors.UnavailableError, id="ended stream"),
        pytest.param(grpc.aio.UsageError("closed"), errors.StreamClosedError, id="closed channel"),
        pytest.param(
            ValueError("Cannot invoke RPC on closed channel!"),
            errors.StreamClosedError,
            id="closed sync channel",
        ),
        pytest.param(grpc.aio.InternalError("x"), errors.InternalError, id="grpc's own fault"),
        pytest.param(grpc.RpcError("x"), errors.InternalError, id="rpc error without a status"),
    ],
)
def test_whatever_grpc_raises_is_translated(
    raised: BaseException, expected: type[errors.KinemaskError]
) -> None:
    with pytest.raises(errors.KinemaskError) as caught:
        raise errors.from_grpc(raised, "r")
    assert type(caught.value) is expected
    assert caught.value.request_id == "r"


def test_translated_passes_other_errors_on() -> None:
    with pytest.raises(KeyError), errors.translated():
        raise KeyError("not grpc's")
    with pytest.raises(errors.UnavailableError), errors.translated():
        raise asyncio.InvalidStateError


class OverwrittenCall:
    """A call whose status a failed write replaces, as in grpc issue 36066."""

    def __init__(self) -> None:
        self.status = (grpc.StatusCode.NOT_FOUND, "no such model")
        self.callbacks: list[Any] = []

    def add_done_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def done(self) -> bool:
        return True

    async def code(self) -> grpc.StatusCode:
        return self.status[0]

    async def details(self) -> str:
        return self.status[1]

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()


@pytest.mark.parametrize("arrives", ["before", "after"])
async def test_a_status_that_a_failed_write_replaced_is_found(arrives: str) -> None:
    call: Any = OverwrittenCall()
    end = CallEnd(call)
    sent, made_up = call.status, (grpc.StatusCode.INTERNAL, "Internal error from Core")
    call.status = sent if arrives == "before" else made_up
    call.callbacks[0](call)
    call.status = made_up if arrives == "before" else sent
    found = await end.sent_by_server()
    assert found is not None
    assert found.code() is grpc.StatusCode.NOT_FOUND
