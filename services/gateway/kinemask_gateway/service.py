"""The gateway as a service: live streams, and the services behind at the same address."""

from __future__ import annotations

import asyncio

import grpc
import psycopg
import structlog
from kinemask.v1 import (
    annotations_pb2_grpc,
    images_pb2_grpc,
    jobs_pb2_grpc,
    live_pb2_grpc,
    videos_pb2_grpc,
)
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.provenance import service_info
from kinemask_chassis.server import Service
from kinemask_chassis.streams import StreamLimits, StreamServer

from kinemask_gateway.annotations.rooms import Rooms
from kinemask_gateway.annotations.servicer import AnnotationServicer
from kinemask_gateway.downstream import Downstream
from kinemask_gateway.images.calls import PictureCalls
from kinemask_gateway.images.servicer import ImageServicer
from kinemask_gateway.jobs.registry import KINDS
from kinemask_gateway.jobs.servicer import JobServicer
from kinemask_gateway.library.parts import StoredParts
from kinemask_gateway.library.servicer import VideoServicer
from kinemask_gateway.live.servicer import LiveServicer
from kinemask_gateway.proxy import PassThrough
from kinemask_gateway.settings import GatewaySettings

_SWEEP_EVERY_S = 600.0
_SWEEP_MEMORY_EVERY_S = 30.0
_STORED = (
    "kinemask.v1.VideoService",
    "kinemask.v1.JobService",
    "kinemask.v1.AnnotationService",
)

_log = structlog.get_logger(__name__)


class GatewayService(Service[GatewaySettings]):
    """The one front door."""

    name = "gateway"
    rpc_services: tuple[str, ...] = ("kinemask.v1.LiveService", "kinemask.v1.ImageService")
    job_kinds = KINDS
    """Kinds of jobs that clients may ask for."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(settings)
        self.streams = StreamServer(
            StreamLimits(
                default_window=settings.default_window,
                max_window=settings.max_window,
                max_streams=settings.max_streams,
                stall_timeout_s=settings.stall_timeout_s,
            )
        )
        self._downstream: Downstream | None = None
        self.stored = StoredParts(settings) if settings.has_library else None
        """Videos and jobs, where they are kept."""
        self._sweeping: list[asyncio.Task[None]] = []
        self.sessions: Rooms | None = None
        """Annotation sessions, once they are served."""
        if self.stored is not None:
            self.rpc_services = (*self.rpc_services, *_STORED)

    def register(self, server: grpc.aio.Server) -> None:
        """Add LiveService, and the pass-through for everything behind."""
        self._downstream = Downstream.from_settings(self.settings)
        servicer = LiveServicer(
            self._downstream,
            self.streams,
            self.settings,
            service_info("gateway", engine="pipeline", model="live"),
            self.metrics.frames("LiveService.Stream"),
        )
        live_pb2_grpc.add_LiveServiceServicer_to_server(servicer, server)
        library = self.stored.library if self.stored is not None else None
        calls = PictureCalls(self._downstream, self.settings.picture_timeout_s)
        pictures = ImageServicer(calls, library, self.settings.max_pixels)
        images_pb2_grpc.add_ImageServiceServicer_to_server(pictures, server)
        if self.stored is not None:
            self._register_stored(self.stored, self._downstream, server)
        server.add_generic_rpc_handlers((PassThrough(self._downstream.pools),))

    async def warm_up(self) -> None:
        """Connect to database and object store, where there are to be any."""
        if self.stored is not None:
            await self.stored.open()
            self._sweeping = [asyncio.create_task(self._sweep(self.stored))]
            if self.sessions is not None:
                every_s = min(_SWEEP_MEMORY_EVERY_S, self.settings.session_idle_s / 2)
                self._sweeping.append(asyncio.create_task(_sweep_memory(self.sessions, every_s)))

    async def on_drain(self, grace_s: float) -> None:
        """Hand every live stream its resume token; send those who watch jobs elsewhere."""
        if self.stored is not None:
            self.stored.leaving.set()
        await self.streams.drain(grace_s)

    async def close(self) -> None:
        for task in self._sweeping:
            task.cancel()
        if self.sessions is not None:
            await self.sessions.propagations.close()
        if self.stored is not None:
            await self.stored.close()
        if self._downstream is not None:
            await self._downstream.close()

    def _register_stored(
        self, stored: StoredParts, downstream: Downstream, server: grpc.aio.Server
    ) -> None:
        videos = VideoServicer(stored.library, stored.deletion)
        videos_pb2_grpc.add_VideoServiceServicer_to_server(videos, server)
        jobs = JobServicer(stored, self.job_kinds, self.settings.max_queued_jobs)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        self.sessions = Rooms.of(stored, downstream, self.settings)
        annotations = AnnotationServicer(self.sessions)
        annotations_pb2_grpc.add_AnnotationServiceServicer_to_server(annotations, server)

    async def _sweep(self, stored: StoredParts) -> None:
        """Every few minutes: lapsed uploads, what killed processes left, jobs of dead workers."""
        while True:
            try:
                await stored.library.sweep()
                await stored.queue.mend()
            except (ServiceError, psycopg.Error) as error:
                _log.warning("cannot_sweep", why=str(error))
            await asyncio.sleep(_SWEEP_EVERY_S)


async def _sweep_memory(sessions: Rooms, every_s: float) -> None:
    """Let go of sessions that nobody uses; they are stored."""
    while True:
        await asyncio.sleep(every_s)
        sessions.held.sweep()
