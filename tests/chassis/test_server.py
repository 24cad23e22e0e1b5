"""Real servers on loopback: health, reflection, TLS, ports, metrics, drain."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kinemask_chassis.server import RunningServer, StartError, running
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.echo_service import ECHO, EchoService

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def _status(channel: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


def _both(channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream(
        f"/{ECHO}/Both",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )()


def _unary(channel: grpc.aio.Channel, text: str) -> Any:
    call = channel.unary_unary(
        f"/{ECHO}/Unary",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    return call(StringValue(value=text))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="the whole server"),
        pytest.param(ECHO, id="a service"),
        pytest.param("kinemask.v1.SegmenterService", id="another service of the same server"),
    ],
)
async def test_health_serves_only_after_the_warm_up(echo_service: EchoService, name: str) -> None:
    echo_service.may_warm_up.clear()
    server = RunningServer(echo_service)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert await _status(channel, name) == NOT_SERVING
            echo_service.may_warm_up.set()
            await server.warm_up()
            assert await _status(channel, name) == SERVING
    finally:
        await server.close()


async def test_health_does_not_know_other_services(echo_channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _status(echo_channel, "kinemask.v1.Nobody")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(echo_channel: grpc.aio.Channel) -> None:
    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    any_channel: Any = echo_channel  # the package's types know synchronous channels only
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(any_channel)
    answers = [a async for a in stub.ServerReflectionInfo(ask())]
    names = {s.name for s in answers[0].list_services_response.service}
    assert {ECHO, "kinemask.v1.SegmenterService", "grpc.health.v1.Health"} <= names


async def test_a_taken_port_is_an_error_that_says_so(echo_server: RunningServer) -> None:
    rival = RunningServer(EchoService(ChassisSettings(port=echo_server.port)))
    with pytest.raises(StartError, match=rf"cannot listen on .*:{echo_server.port}.*KINEMASK_PORT"):
        await rival.start()
    await rival.close()


async def test_metrics_are_served_until_the_server_closes() -> None:
    service = EchoService(ChassisSettings(port=0, metrics_port=0))
    async with running(service) as server:
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        async with grpc.aio.insecure_channel(server.address) as channel:
            await _unary(channel, "hello")
        page = await asyncio.to_thread(_get, url)
    assert f'kinemask_rpc_handled_total{{code="OK",method="/{ECHO}/Unary"}} 1.0' in page
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(_get, url)


async def test_a_taken_metrics_port_is_an_error_that_says_so() -> None:
    async with running(EchoService(ChassisSettings(port=0, metrics_port=0))) as server:
        taken = ChassisSettings(port=0, metrics_port=server.metrics_port)
        rival = RunningServer(EchoService(taken))
        with pytest.raises(StartError, match="KINEMASK_METRICS_PORT"):
            await rival.start()
        await rival.close()


async def test_drain_says_so_first_hands_streams_over_and_does_not_wait_out_the_grace(
    echo_channel: grpc.aio.Channel, echo_server: RunningServer, echo_service: EchoService
) -> None:
    stub: Any = health_pb2_grpc.HealthStub(echo_channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=ECHO))
    assert (await watch.read()).status == SERVING
    stream = _both(echo_channel)
    await stream.write(StringValue(value="a"))
    assert (await stream.read()).value == "a"

    # Longer than the test may take: waiting the grace out fails it.
    draining = asyncio.create_task(echo_server.drain(grace_s=600))
    assert (await watch.read()).status == NOT_SERVING
    assert (await stream.read()).value == "go away"
    assert await stream.read() is grpc.aio.EOF
    await draining
    assert echo_service.life == ["warm", "drain"]


async def test_drain_lets_a_running_call_end_and_takes_no_new_ones(
    echo_channel: grpc.aio.Channel, echo_server: RunningServer, echo_service: EchoService
) -> None:
    running_call = _unary(echo_channel, "until-leave")
    assert await echo_service.began.get() == "until-leave"
    draining = asyncio.create_task(echo_server.drain(grace_s=60))
    assert (await running_call).value == "until-leave"
    await draining
    async with grpc.aio.insecure_channel(echo_server.address) as late:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _unary(late, "hello")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_service_that_cannot_say_goodbye_is_drained_all_the_same(
    echo_server: RunningServer, echo_service: EchoService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(grace_s: float) -> None:
        raise RuntimeError("no goodbye")

    monkeypatch.setattr(echo_service, "on_drain", fail)
    await echo_server.drain(grace_s=600)
    async with grpc.aio.insecure_channel(echo_server.address) as late:
        with pytest.raises(grpc.aio.AioRpcError):
            await _unary(late, "hello")


async def test_drain_ends_what_is_left_when_the_grace_is_over(
    echo_channel: grpc.aio.Channel, echo_server: RunningServer, echo_service: EchoService
) -> None:
    stuck = _unary(echo_channel, "forever")
    assert await echo_service.began.get() == "forever"
    await echo_server.drain(grace_s=0.1)
    assert await echo_service.ended.get() == "forever"
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await stuck


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _tls_settings(authority: trustme.CA, folder: Path, *, mutual: bool) -> ChassisSettings:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    client_ca = ca if mutual else None
    return ChassisSettings(port=0, tls_cert=cert, tls_key=key, tls_client_ca=client_ca)


def _client(authority: trustme.CA, own: trustme.CA | None = None) -> grpc.ChannelCredentials:
    """What a client brings: trust in the server's CA, and its own certificate if it has one."""
    if own is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    issued = own.issue_cert("client")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    return grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), issued.private_key_pem.bytes(), chain
    )


async def _echoes(server: RunningServer, credentials: grpc.ChannelCredentials) -> bool:
    async with grpc.aio.secure_channel(server.address, credentials) as channel:
        try:
            return bool((await _unary(channel, "hello")).value == "hello")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            return False


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    settings = _tls_settings(authority, tmp_path, mutual=False)
    async with running(EchoService(settings)) as server:
        assert await _echoes(server, _client(authority))
        assert not await _echoes(server, _client(trustme.CA()))  # a client that trusts another CA
        async with grpc.aio.insecure_channel(server.address) as plain:
            with pytest.raises(grpc.aio.AioRpcError):
                await _unary(plain, "hello")


async def test_mutual_tls(authority: trustme.CA, tmp_path: Path) -> None:
    settings = _tls_settings(authority, tmp_path, mutual=True)
    async with running(EchoService(settings)) as server:
        assert await _echoes(server, _client(authority, own=authority))
        assert not await _echoes(server, _client(authority))  # no certificate
        assert not await _echoes(server, _client(authority, own=trustme.CA()))  # a stranger's


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as page:
        return str(page.read().decode())
