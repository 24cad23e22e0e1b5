"""Replicas that come and go, as the gateway sees them."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from kinemask_gateway.downstream.pool import SERVICES, ReplicaPool
from kinemask_gateway.settings import GatewaySettings

from benchmarks.harness import free_port
from tests.stream_kit import eventually

READY = grpc.ChannelConnectivity.READY


async def healthy_server(port: int) -> grpc.aio.Server:
    server = grpc.aio.server()
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set(SERVICES["segmenter"], health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


def pool_of(port: int) -> ReplicaPool:
    address = f"127.0.0.1:{port}"
    return ReplicaPool("segmenter", address, GatewaySettings(), SERVICES["segmenter"])


async def test_a_replica_that_has_just_come_up_is_waited_for() -> None:
    port = free_port()
    pool = pool_of(port)
    pool.connect()
    await eventually(lambda: not pool.serving)
    server = await healthy_server(port)
    await pool.settle()
    assert pool.next_channel().get_state() is READY
    await pool.close()
    await server.stop(None)


async def test_a_replica_that_is_not_there_is_not_waited_for_long() -> None:
    pool = pool_of(free_port())
    await pool.settle()
    assert not pool.serving
    await pool.close()


async def test_nothing_is_waited_for_where_no_address_was_given() -> None:
    pool = ReplicaPool("segmenter", "none", GatewaySettings(), SERVICES["segmenter"])
    await pool.settle()
    assert not pool.configured
