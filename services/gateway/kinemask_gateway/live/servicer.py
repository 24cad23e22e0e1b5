"""LiveService: the stream itself, and what is behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from kinemask.v1 import (
    captioner_pb2,
    captioner_pb2_grpc,
    detector_pb2,
    detector_pb2_grpc,
    faces_pb2,
    faces_pb2_grpc,
    live_pb2,
    live_pb2_grpc,
    media_pb2,
    segmenter_pb2,
    segmenter_pb2_grpc,
    tracker_pb2,
    tracker_pb2_grpc,
)
from kinemask_chassis.downstream import call_options
from kinemask_chassis.streams import StreamObserver, StreamPlan, StreamServer, StreamTerms

from kinemask_gateway.downstream import Downstream, ReplicaPool
from kinemask_gateway.live.opening import open_pipeline
from kinemask_gateway.settings import GatewaySettings

_LIST_TIMEOUT_S = 5.0


class LiveServicer(live_pb2_grpc.LiveServiceServicer):
    """Serves live streams over the services behind the gateway."""

    def __init__(
        self,
        downstream: Downstream,
        streams: StreamServer,
        settings: GatewaySettings,
        service: media_pb2.ServiceInfo,
        observer: StreamObserver,
    ) -> None:
        self._downstream = downstream
        self._streams = streams
        self._settings = settings
        self._service = service
        self._observer = observer

    async def Stream(  # type: ignore[override]  # a coroutine that writes itself
        self, request_iterator: AsyncIterator[live_pb2.StreamRequest], context: Any
    ) -> None:
        """One live stream; see live.proto."""
        await self._streams.serve(
            "LiveService.Stream",
            request_iterator,
            context.write,
            live_pb2.StreamResponse,
            self._open,
            self._observer,
        )

    async def _open(
        self, config: live_pb2.StreamConfig, terms: StreamTerms
    ) -> StreamPlan[Any, Any, Any, Any]:
        opened = await open_pipeline(config, terms, self._downstream, self._settings)
        started = live_pb2.StreamStarted(config=opened.config, stages=opened.services)
        return StreamPlan(opened.handler, started, self._service)

    async def ListServices(
        self, request: live_pb2.ListServicesRequest, context: Any
    ) -> live_pb2.ListServicesResponse:
        """The services behind the gateway, asked now."""
        pools = self._downstream.pools.values()
        statuses = await asyncio.gather(*(_status(pool) for pool in pools))
        return live_pb2.ListServicesResponse(services=statuses, gateway=self._service)


async def _status(pool: ReplicaPool) -> live_pb2.ServiceStatus:
    status = live_pb2.ServiceStatus(service=pool.service, addresses=pool.addresses)
    if not pool.configured:
        status.reason = "no address was configured"
        return status
    try:
        status.models.extend(await _models(pool))
        status.serving = True
    except grpc.aio.AioRpcError as error:
        status.reason = f"{error.code().name}: {error.details()}"
    return status


async def _models(pool: ReplicaPool) -> list[media_pb2.ModelInfo]:
    """What the service can run. Services that this gateway does not know list nothing."""
    channel, options = pool.next_channel(), call_options(_LIST_TIMEOUT_S).as_arguments()
    if pool.service == "detector":
        detector = detector_pb2_grpc.DetectorServiceStub(channel)
        found = await detector.ListModels(
            detector_pb2.DetectorServiceListModelsRequest(), **options
        )
        return list(found.models)
    if pool.service == "segmenter":
        segmenter = segmenter_pb2_grpc.SegmenterServiceStub(channel)
        listed = await segmenter.ListModels(
            segmenter_pb2.SegmenterServiceListModelsRequest(), **options
        )
        return list(listed.models)
    if pool.service == "tracker":
        tracker = tracker_pb2_grpc.TrackerServiceStub(channel)
        known = await tracker.ListAlgorithms(tracker_pb2.ListAlgorithmsRequest(), **options)
        return list(known.algorithms)
    if pool.service == "faces":
        faces = faces_pb2_grpc.FacesServiceStub(channel)
        asked = faces_pb2.FacesServiceListModelsRequest()
        return list((await faces.ListModels(asked, **options)).models)
    if pool.service == "captioner":
        captioner = captioner_pb2_grpc.CaptionerServiceStub(channel)
        wanted = captioner_pb2.CaptionerServiceListModelsRequest()
        return list((await captioner.ListModels(wanted, **options)).models)
    return []
