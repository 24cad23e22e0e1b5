"""The detector as a service: what it registers, warms up, drains and frees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from kinemask.v1 import detector_pb2_grpc
from kinemask_chassis.server import Service

from kinemask_detector.engines.registry import EngineSet, installed_engines
from kinemask_detector.pictures import EngineRunner
from kinemask_detector.servicer import DetectorServicer
from kinemask_detector.settings import DetectorSettings


class DetectorService(Service[DetectorSettings]):
    """Boxes from words. `engines` replaces the installed ones, in tests and benchmarks."""

    name = "detector"
    rpc_services = ("kinemask.v1.DetectorService",)

    def __init__(self, settings: DetectorSettings, engines: EngineSet | None = None) -> None:
        super().__init__(settings)
        engines = engines or installed_engines()
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="detector")
        self.runners = {
            engine.info.name: EngineRunner(
                engine, settings, self._executor, self.metrics.queue(engine.info.name)
            )
            for engine in engines
        }
        self.servicer = DetectorServicer(
            settings, engines, self.runners, self.metrics.frames("DetectStream")
        )

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Pay every engine's first-call costs."""
        for runner in self.runners.values():
            await runner.warm_up()

    async def on_drain(self, grace_s: float) -> None:
        await self.servicer.streams.drain(grace_s)

    async def close(self) -> None:
        for runner in self.runners.values():
            await runner.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
