"""Is a server ready? Asked over the standard health service."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class HealthProbe:
    """A channel to ask again and again; close it after use."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
        ]
        self._channel = grpc.insecure_channel(address, options=options)
        # The stub's attributes are made at run time, so no type knows them.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def is_serving(self, timeout_s: float = 1.0) -> bool:
        """False while nobody answers or the answer is another."""
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> HealthProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
