"""What the benchmarks share: services in processes of their own, frames, percentiles."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

_READY_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def service_process(
    module: str,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[tuple[str, psutil.Process]]:
    """Run `python -m module` as a service of its own; gives its address once it is SERVING.

    `port` is a free one unless given.

    Raises:
        RuntimeError: it ended, or was not ready in a minute.
    """
    port = port or free_port()
    settings = {"KINEMASK_PORT": str(port), "KINEMASK_LOG_LEVEL": "warning", **(environment or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env={**os.environ, **settings}
    )
    try:
        address = f"127.0.0.1:{port}"
        wait_serving(address, process)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_serving(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the service is SERVING; raises RuntimeError."""
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with code {process.returncode}")
            with contextlib.suppress(grpc.RpcError):
                reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=2.0)
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.05)
    raise RuntimeError(f"no service was SERVING at {address} within {_READY_TIMEOUT_S:g} s")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie, nearest rank; NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
