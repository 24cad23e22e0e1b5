"""The tracker as a service: what it registers, warms up and drains."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
from kinemask.v1 import tracker_pb2_grpc
from kinemask_chassis.server import Service

from kinemask_tracker.engines import Detections, algorithm_names, create_tracker
from kinemask_tracker.servicer import TrackerServicer
from kinemask_tracker.settings import TrackerServiceSettings


class TrackerService(Service[TrackerServiceSettings]):
    """Identities for boxes."""

    name = "tracker"
    rpc_services = ("kinemask.v1.TrackerService",)

    def __init__(self, settings: TrackerServiceSettings) -> None:
        super().__init__(settings)
        self.servicer = TrackerServicer(settings, self.metrics.frames("Track"))

    def register(self, server: grpc.aio.Server) -> None:
        tracker_pb2_grpc.add_TrackerServiceServicer_to_server(self.servicer, server)

    async def warm_up(self) -> None:
        """Run two frames through every algorithm: the first call of SciPy's solver is slow."""
        await asyncio.to_thread(_warm_up)

    async def on_drain(self, grace_s: float) -> None:
        await self.servicer.streams.drain(grace_s)


def _warm_up() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    found = Detections(boxes, np.ones(2, np.float32), ("a", "a"))
    for name in algorithm_names():
        tracker = create_tracker(name)
        for frame_id in range(2):
            tracker.update(frame_id, found)
