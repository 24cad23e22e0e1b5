"""The gateway as a service: live streams, and the services behind at the same address."""

from __future__ import annotations

import grpc
from kinemask.v1 import live_pb2_grpc
from kinemask_chassis.provenance import service_info
from kinemask_chassis.server import Service
from kinemask_chassis.streams import StreamLimits, StreamServer

from kinemask_gateway.downstream import Downstream
from kinemask_gateway.live.servicer import LiveServicer
from kinemask_gateway.proxy import PassThrough
from kinemask_gateway.settings import GatewaySettings


class GatewayService(Service[GatewaySettings]):
    """The one front door."""

    name = "gateway"
    rpc_services = ("kinemask.v1.LiveService",)

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
        server.add_generic_rpc_handlers((PassThrough(self._downstream.pools),))

    async def on_drain(self, grace_s: float) -> None:
        """Hand every live stream its resume token."""
        await self.streams.drain(grace_s)

    async def close(self) -> None:
        if self._downstream is not None:
            await self._downstream.close()
