"""Every kind of rpc against a real server: ids, deadlines, statuses, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc
from kinemask_chassis.server import RunningServer

from tests.chassis.echo_service import ECHO, EchoService

Channel = grpc.aio.Channel
Caller = Callable[..., Any]


def _method(channel: Channel, kind: str, name: str) -> Caller:
    make: Callable[..., Caller] = getattr(channel, kind)
    return make(
        f"/{ECHO}/{name}",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )


def unary(channel: Channel, text: str, **options: Any) -> Any:
    return _method(channel, "unary_unary", "Unary")(StringValue(value=text), **options)


def down(channel: Channel, text: str) -> Any:
    return _method(channel, "unary_stream", "Down")(StringValue(value=text))


async def _one(text: str) -> AsyncIterator[StringValue]:
    yield StringValue(value=text)


def _call_and_read(kind: str, channel: Channel, text: str) -> Any:
    """Call one of the four kinds with one text; await it for the first answer."""
    if kind == "unary_unary":
        return unary(channel, text)
    if kind == "stream_unary":
        return _method(channel, kind, "Up")(_one(text))
    if kind == "unary_stream":
        return _first(down(channel, text))
    return _first(_method(channel, kind, "Both")(_one(text)))


async def _first(call: Any) -> Any:
    return await anext(aiter(call))


def details_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status that came in the trailers."""
    trailers = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailers["grpc-status-details-bin"])


def unpacked(status: status_pb2.Status, kind: Any) -> Any:
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_answers(echo_channel: Channel, kind: str) -> None:
    assert (await _call_and_read(kind, echo_channel, "hello")).value == "hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_error_arrives_with_its_details(echo_channel: Channel, kind: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call_and_read(kind, echo_channel, "refuse")
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    status = details_of(caught.value)
    info = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("QUEUE_FULL", "kinemask")
    delay = unpacked(status, error_details_pb2.RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("boom", id="an exception of ours"),
        pytest.param("inner-cancel", id="a cancelled task that the handler waited for"),
    ],
)
async def test_our_own_faults_leak_nothing(echo_channel: Channel, kind: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(_call_and_read(kind, echo_channel, text), 5)
    error = caught.value
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "xyzzy" not in str(error.details()) and "ValueError" not in str(error.details())
    info = unpacked(details_of(error), error_details_pb2.ErrorInfo)
    assert info.metadata["request_id"] == dict(error.trailing_metadata() or ())["x-request-id"]


async def test_an_abort_by_hand_keeps_its_code(
    echo_server: RunningServer, echo_channel: Channel, echo_service: EchoService
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(echo_channel, "abort")
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS
    await echo_server.interceptor.wait_idle()
    assert _handled(echo_service, "Unary", "DATA_LOSS") == 1


async def test_an_rpc_that_is_not_written_yet_is_unimplemented(echo_channel: Channel) -> None:
    stub = segmenter_pb2_grpc.SegmenterServiceStub(echo_channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListModels(segmenter_pb2.SegmenterServiceListModelsRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_unary_request_is_validated_before_its_handler(echo_channel: Channel) -> None:
    stub = segmenter_pb2_grpc.SegmenterServiceStub(echo_channel)
    prompts = [segmenter_pb2.ObjectPrompt(object_id=1) for _ in range(10_000)]
    request = segmenter_pb2.SegmentImageRequest(
        image=media_pb2.Image(encoded=b"jpeg"), prompts=prompts, candidates=9
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SegmentImage(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    bad = unpacked(details_of(caught.value), error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("prompts", "expected at most 256 items, got 10000"),
        ("candidates", "expected at most 3, got 9"),
    ]


async def test_a_good_unary_request_reaches_its_handler(echo_channel: Channel) -> None:
    stub = segmenter_pb2_grpc.SegmenterServiceStub(echo_channel)
    prompt = segmenter_pb2.ObjectPrompt(object_id=1)
    request = segmenter_pb2.SegmentImageRequest(
        image=media_pb2.Image(encoded=b"jpeg"), prompts=[prompt]
    )
    assert (await stub.SegmentImage(request)).width == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param("unary_unary", "Unary", id="decoded around the handler"),
        pytest.param("stream_unary", "Up", id="decoded while the handler reads"),
    ],
)
async def test_bytes_that_are_no_message(echo_channel: Channel, kind: str, name: str) -> None:
    call = getattr(echo_channel, kind)(f"/{ECHO}/{name}")
    garbage = b"\xff\xff\xff"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(garbage if kind == "unary_unary" else iter([garbage]))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    info = unpacked(details_of(caught.value), error_details_pb2.ErrorInfo)
    assert info.reason == "UNDECODABLE_MESSAGE"


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        pytest.param("trace-7:a/b", True, id="printable"),
        pytest.param("x" * 128, True, id="as long as allowed"),
        pytest.param("x" * 129, False, id="too long"),
        pytest.param("two words", False, id="a space would split a log line"),
        pytest.param("", False, id="empty"),
    ],
)
async def test_the_request_id_comes_back(echo_channel: Channel, offered: str, kept: bool) -> None:
    call = unary(echo_channel, "context", metadata=(("x-request-id", offered),))
    seen = (await call).value.split()[0]
    returned = dict(await call.trailing_metadata())["x-request-id"]
    assert seen == returned
    assert (returned == offered) is kept
    assert kept or len(returned) == 32


async def test_the_deadline_is_known_to_the_handler(echo_channel: Channel) -> None:
    left_s = float((await unary(echo_channel, "context", timeout=30.0)).value.split()[1])
    assert 25 < left_s < 31  # grpc rounds the header up by a few tenths
    assert (await unary(echo_channel, "context")).value.split()[1] == "None"


async def test_an_expired_call_is_counted_as_such(
    echo_channel: Channel, echo_service: EchoService, echo_server: RunningServer
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(echo_channel, "forever", timeout=0.05)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert await echo_service.ended.get() == "forever"
    await echo_server.interceptor.wait_idle()
    assert _handled(echo_service, "Unary", "DEADLINE_EXCEEDED") == 1


async def test_a_cancelled_call_ends_its_handler(
    echo_channel: Channel, echo_service: EchoService, echo_server: RunningServer
) -> None:
    call = unary(echo_channel, "forever")
    assert await echo_service.began.get() == "forever"
    assert echo_server.interceptor.active == 1
    call.cancel()
    assert await echo_service.ended.get() == "forever"
    await echo_server.interceptor.wait_idle()
    assert _handled(echo_service, "Unary", "CANCELLED") == 1


async def test_writing_to_a_client_that_has_gone_is_no_fault(
    echo_channel: Channel,
    echo_service: EchoService,
    echo_server: RunningServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = down(echo_channel, "hello,write-late")
    assert (await _first(call)).value == "hello"
    call.cancel()
    await echo_server.interceptor.wait_idle()
    await asyncio.sleep(0)  # grpc hears of the handler's end a turn later
    assert _handled(echo_service, "Down", "CANCELLED") == 1
    assert _handled(echo_service, "Down", "INTERNAL") == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_client_that_does_not_read_is_let_go(
    echo_channel: Channel, echo_service: EchoService, echo_server: RunningServer
) -> None:
    call = _method(echo_channel, "unary_stream", "Flood")(StringValue(value=""))
    assert await echo_service.began.get() == "flood"
    await echo_server.interceptor.wait_idle()
    assert _handled(echo_service, "Flood", "RESOURCE_EXHAUSTED") == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # when it reads after all
        async for _ in call:
            pass
    assert (
        unpacked(details_of(caught.value), error_details_pb2.ErrorInfo).reason == "CLIENT_STALLED"
    )
    assert (await unary(echo_channel, "hello")).value == "hello"  # the connection lives


async def test_a_stream_counts_while_it_is_open(
    echo_channel: Channel, echo_service: EchoService, echo_server: RunningServer
) -> None:
    call = _method(echo_channel, "stream_stream", "Both")()
    await call.write(StringValue(value="a"))
    assert (await call.read()).value == "a"
    assert _sample(echo_service, "kinemask_active_streams", method=f"/{ECHO}/Both") == 1
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await echo_server.interceptor.wait_idle()
    assert _sample(echo_service, "kinemask_active_streams", method=f"/{ECHO}/Both") == 0
    assert _handled(echo_service, "Both", "OK") == 1


async def test_health_checks_do_not_count_as_work(
    echo_channel: Channel, echo_server: RunningServer
) -> None:
    stub: Any = health_pb2_grpc.HealthStub(echo_channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    assert echo_server.interceptor.active == 0
    watch.cancel()


def _sample(service: EchoService, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


def _handled(service: EchoService, rpc: str, code: str) -> float:
    name = "kinemask_rpc_handled_total"
    return _sample(service, name, method=f"/{ECHO}/{rpc}", code=code)
