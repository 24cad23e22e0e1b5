"""Real servers on loopback: an echo server, and one with gated streams; channels to them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from kinemask_chassis.server import RunningServer, running
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.echo_service import EchoService
from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import GatedCalls, serving


@pytest.fixture
def echo_service() -> EchoService:
    return EchoService(ChassisSettings(port=0))


@pytest.fixture
async def echo_server(echo_service: EchoService) -> AsyncIterator[RunningServer]:
    async with running(echo_service) as server:
        yield server


@pytest.fixture
async def echo_channel(echo_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(echo_server.address) as channel:
        yield channel


@pytest.fixture
def gated() -> GatedService:
    return GatedService(ChassisSettings(port=0, max_message_bytes=1 << 20))


@pytest.fixture
async def gated_calls(gated: GatedService) -> AsyncIterator[GatedCalls]:
    async with serving(gated) as calls:
        yield calls
