"""A service that is only a health service, for stacks in tests; FAKE_... tells it what to do wrong.

python -m tests.cli.fake_service
"""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from kinemask.v1 import live_pb2, live_pb2_grpc, media_pb2


class FakeGateway(live_pb2_grpc.LiveServiceServicer):
    """Knows one service, which would rather run something else."""

    def Stream(self, request_iterator: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "only a fake")

    def ListServices(self, request: Any, context: Any) -> live_pb2.ListServicesResponse:
        flow = media_pb2.ModelInfo(name="flow", revision="builtin", ready=True, is_default=True)
        better = media_pb2.ModelInfo(name="better", reason="no weights; fetch them")
        found = live_pb2.ServiceStatus(
            service="segmenter", addresses=["here"], serving=True, models=[flow, better]
        )
        absent = live_pb2.ServiceStatus(service="captioner")
        return live_pb2.ListServicesResponse(services=[found, absent])


def tell(text: str) -> None:
    with suppress(BrokenPipeError):  # who listened may have been killed
        print(text, file=sys.stderr, flush=True)


def main() -> int:
    # A pipe, because a signal that comes just before a wait begins would not end it.
    signals, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if os.environ.get("FAKE_FAILS"):
        tell("the weights are not there")
        return 3
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    live_pb2_grpc.add_LiveServiceServicer_to_server(FakeGateway(), server)
    server.add_insecure_port(f"{os.environ['KINEMASK_HOST']}:{os.environ['KINEMASK_PORT']}")
    if os.environ.get("FAKE_NEVER_READY"):
        servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    server.start()
    for name in sorted(os.environ):
        if name.startswith("KINEMASK_"):
            tell(f"{name}={os.environ[name]}")
    tell("listening")
    os.read(signals, 1)
    while os.environ.get("FAKE_STUBBORN"):
        tell("I stay")
        os.read(signals, 1)
    server.stop(None).wait()
    tell("left")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
