"""A real echo server on loopback, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from kinemask_chassis.server import RunningServer, running
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.echo_service import EchoService


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
