"""The segmenter as a service: what it registers, warms up, drains and frees."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from kinemask.v1 import segmenter_pb2_grpc
from kinemask_chassis.server import Service, StartError

from kinemask_segmenter.engines.installed import installed_engines
from kinemask_segmenter.engines.registry import EngineSet
from kinemask_segmenter.servicer import SegmenterServicer
from kinemask_segmenter.settings import SegmenterSettings


class SegmenterService(Service[SegmenterSettings]):
    """Masks from prompts. `engines` replaces the installed ones, in tests and benchmarks."""

    name = "segmenter"
    rpc_services = ("kinemask.v1.SegmenterService",)

    def __init__(self, settings: SegmenterSettings, engines: EngineSet | None = None) -> None:
        """Raises StartError: weights are not what was pinned, or named and not usable."""
        super().__init__(settings)
        try:
            self._engines = engines or installed_engines(settings)
        except (OSError, ValueError) as error:
            raise StartError(str(error)) from error
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="segmenter")
        self.servicer = SegmenterServicer(
            settings, self._engines, self._executor, self.metrics.frames("SegmentVideo")
        )

    def register(self, server: grpc.aio.Server) -> None:
        segmenter_pb2_grpc.add_SegmenterServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Pay the default engine's first-call costs; the others load when they are asked for.

        Raises:
            StartError: its weights do not fit.
        """
        try:
            await asyncio.to_thread(self._engines.default.warm_up)
        except ValueError as error:
            raise StartError(str(error)) from error

    async def on_drain(self, grace_s: float) -> None:
        await self.servicer.streams.drain(grace_s)

    async def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        for engine in self._engines:
            engine.close()
