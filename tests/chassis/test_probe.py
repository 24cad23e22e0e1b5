"""The health check of a container, against real servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from kinemask_chassis.probe import is_ready
from kinemask_chassis.server import RunningServer
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.echo_service import EchoService


def _run_probe(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kinemask_chassis.probe"],
        env=os.environ | {"KINEMASK_PORT": str(port), "KINEMASK_HOST": "0.0.0.0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_serving_server_is_ready(echo_server: RunningServer) -> None:
    done = await asyncio.to_thread(_run_probe, echo_server.port)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_server_that_warms_up_is_not(echo_service: EchoService) -> None:
    server = RunningServer(echo_service)
    try:
        await server.start()
        done = await asyncio.to_thread(_run_probe, server.port)
    finally:
        await server.close()
    assert (done.returncode, done.stderr) == (1, f"not ready on port {server.port}\n")


async def test_nobody_is_not_ready(echo_server: RunningServer) -> None:
    port = echo_server.port
    await echo_server.close()
    assert not await asyncio.to_thread(is_ready, ChassisSettings(port=port))


@pytest.fixture
def certified(tmp_path: Path) -> ChassisSettings:
    """Settings of a server that speaks TLS and wants certificates from its clients."""
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    cert, key, ca_file = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    ca.cert_pem.write_to_path(ca_file)
    return ChassisSettings(port=0, tls_cert=cert, tls_key=key, tls_client_ca=ca_file)


async def test_behind_tls_a_handshake_is_enough(certified: ChassisSettings) -> None:
    server = RunningServer(EchoService(certified))
    await server.start()
    there = certified.model_copy(update={"port": server.port})
    assert await asyncio.to_thread(is_ready, there)
    await server.close()
    assert not await asyncio.to_thread(is_ready, there)
