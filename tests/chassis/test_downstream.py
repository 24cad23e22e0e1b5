"""Calls on behalf of an rpc: the request id goes along, the deadline shrinks by the margin."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from kinemask_chassis import context as rpc_context
from kinemask_chassis.downstream import call_options, client_interceptors
from kinemask_chassis.server import RunningServer

from tests.chassis.echo_service import ECHO

NAMES = {
    "unary_unary": "Unary",
    "unary_stream": "Down",
    "stream_unary": "Up",
    "stream_stream": "Both",
}


@pytest.fixture
async def forwarding(echo_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    interceptors = client_interceptors(margin_s=2.0)
    address = echo_server.address
    async with grpc.aio.insecure_channel(address, interceptors=interceptors) as channel:
        yield channel


async def _ask(channel: grpc.aio.Channel, kind: str, **options: Any) -> list[str]:
    """What the handler sees: the request id and the seconds it has."""
    call = getattr(channel, kind)(
        f"/{ECHO}/{NAMES[kind]}",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    question = StringValue(value="context")
    answer = call(iter([question]) if kind.startswith("stream") else question, **options)
    if kind.endswith("stream"):
        return str((await anext(aiter(answer))).value).split()
    return str((await answer).value).split()


@pytest.mark.parametrize("kind", NAMES)
async def test_every_kind_forwards_both(forwarding: grpc.aio.Channel, kind: str) -> None:
    rpc_context.set_request_id("trace-1")
    rpc_context.set_deadline_s(time.monotonic() + 20)
    request_id, left_s = await _ask(forwarding, kind)
    assert request_id == "trace-1"
    assert 10 < float(left_s) < 19  # 20 less the margin of 2; grpc rounds up by some tenths


async def test_a_shorter_timeout_and_an_own_request_id_win(forwarding: grpc.aio.Channel) -> None:
    rpc_context.set_request_id("trace-1")
    rpc_context.set_deadline_s(time.monotonic() + 100)
    own = (("x-request-id", "own"),)
    request_id, left_s = await _ask(forwarding, "unary_unary", timeout=10, metadata=own)
    assert request_id == "own" and float(left_s) < 11


async def test_outside_of_an_rpc_nothing_is_added(forwarding: grpc.aio.Channel) -> None:
    request_id, left_s = await _ask(forwarding, "unary_unary")
    assert len(request_id) == 32 and left_s == "None"


@pytest.mark.parametrize("kind", NAMES)
async def test_less_time_than_the_margin_never_reaches_the_handler(
    forwarding: grpc.aio.Channel, kind: str
) -> None:
    rpc_context.set_deadline_s(time.monotonic() + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(forwarding, kind)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_can_be_opened_with_the_options_alone(
    echo_channel: grpc.aio.Channel,
) -> None:
    rpc_context.set_request_id("trace-1")
    rpc_context.set_deadline_s(time.monotonic() + 20)
    options = call_options(margin_s=2.0).as_arguments()
    request_id, left_s = await _ask(echo_channel, "stream_stream", **options)
    assert request_id == "trace-1" and 10 < float(left_s) < 19


def test_options_without_a_context_are_empty() -> None:
    assert call_options().as_arguments() == {"timeout": None, "metadata": ()}
