"""`python -m kinemask_chassis.probe`: exit 0 if the service of this environment is ready, else 1.

For a container's health check: it reads the same variables as the service. Behind TLS it only
looks whether the server shakes hands, because a client certificate may be needed for more.
"""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemask_chassis.settings import ChassisSettings, load_settings

_TIMEOUT_S = 3.0
_EVERYWHERE = ("0.0.0.0", "")


def is_ready(settings: ChassisSettings, timeout_s: float = _TIMEOUT_S) -> bool:
    """True if the server that has these settings says SERVING, or shakes hands behind TLS."""
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    if settings.tls_cert is not None:
        return _shakes_hands(host, settings.port, timeout_s)
    return _serves(f"{host}:{settings.port}", timeout_s)


def _serves(address: str, timeout_s: float) -> bool:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _shakes_hands(host: str, port: int, timeout_s: float) -> bool:
    context = ssl.create_default_context()
    # It is asked whether the server is there, over loopback, not who it is.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False


def main() -> int:
    """The process's exit code."""
    settings = load_settings(ChassisSettings)
    if is_ready(settings):
        return 0
    print(f"not ready on port {settings.port}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
