"""The captioner as a service: what it registers, warms up and frees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from kinemask.v1 import captioner_pb2_grpc
from kinemask_chassis.server import Service

from kinemask_captioner.engines.installed import installed_engines
from kinemask_captioner.engines.registry import EngineSet
from kinemask_captioner.runner import CaptionRunner
from kinemask_captioner.servicer import CaptionerServicer
from kinemask_captioner.settings import CaptionerSettings


class CaptionerService(Service[CaptionerSettings]):
    """Words for pictures. `engines` replaces the installed ones, in tests and benchmarks."""

    name = "captioner"
    rpc_services = ("kinemask.v1.CaptionerService",)

    def __init__(self, settings: CaptionerSettings, engines: EngineSet | None = None) -> None:
        super().__init__(settings)
        self.engines = engines or installed_engines(settings)
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="captioner")
        self.runner = CaptionRunner(settings, self._executor, self.metrics.queue("captions"))
        self.servicer = CaptionerServicer(settings, self.engines, self.runner)

    def register(self, server: grpc.aio.Server) -> None:
        captioner_pb2_grpc.add_CaptionerServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Load the default model; the others are loaded when they are asked for."""
        if self.engines.default is not None:
            await self.runner.warm_up(self.engines.default)

    async def close(self) -> None:
        await self.runner.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
