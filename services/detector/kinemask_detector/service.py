"""The detector as a service: what it registers, warms up, drains and frees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from kinemask.v1 import detector_pb2_grpc
from kinemask_chassis.server import Service
from kinemask_chassis.weights.residency import Loadable, Residency

from kinemask_detector.devices import EngineDevice
from kinemask_detector.engines.installed import installed_engines
from kinemask_detector.engines.registry import AnyEngine, EngineSet
from kinemask_detector.pictures import EngineRunner
from kinemask_detector.servicer import DetectorServicer
from kinemask_detector.settings import DetectorSettings


class DetectorService(Service[DetectorSettings]):
    """Boxes from words. `engines` replaces the installed ones, in tests and benchmarks."""

    name = "detector"
    rpc_services = ("kinemask.v1.DetectorService",)

    def __init__(self, settings: DetectorSettings, engines: EngineSet | None = None) -> None:
        super().__init__(settings)
        self.engines = engines or installed_engines(settings)
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="detector")
        self._devices: dict[str, EngineDevice] = {}
        self.runners = {
            engine.info.name: EngineRunner(
                engine, self._device_of(engine), self._executor, settings.max_pixels
            )
            for engine in self.engines
        }
        self.servicer = DetectorServicer(
            settings, self.engines, self.runners, self.metrics.frames("DetectStream")
        )

    def _device_of(self, engine: AnyEngine) -> EngineDevice:
        """One for all models with weights, which share its memory, and one for each other."""
        info, settings = engine.info, self.settings
        if not isinstance(engine, Loadable):
            name, options, residency = info.name, settings.batching(info.max_batch), None
        else:
            name, options = info.device, settings.batching(settings.detector_max_batch)
            residency = Residency(settings.memory_bytes, "KINEMASK_DETECTOR_MEMORY_MIB")
        if name not in self._devices:
            metrics = self.metrics.queue(name)
            self._devices[name] = EngineDevice(name, options, metrics, residency)
        return self._devices[name]

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Warm up the default and of all without weights; others load when asked for."""
        for runner in self.runners.values():
            if runner.engine is self.engines.default or not isinstance(runner.engine, Loadable):
                await runner.warm_up()

    async def on_drain(self, grace_s: float) -> None:
        await self.servicer.streams.drain(grace_s)

    async def close(self) -> None:
        for device in self._devices.values():
            await device.close()
        for engine in self.engines:
            engine.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
