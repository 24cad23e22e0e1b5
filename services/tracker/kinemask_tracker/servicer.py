"""The tracker's rpcs: messages to plain values and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from kinemask.v1 import media_pb2, tracker_pb2, tracker_pb2_grpc
from kinemask_chassis import errors
from kinemask_chassis.provenance import BUILTIN, service_info
from kinemask_chassis.streams import StreamLimits, StreamObserver, StreamPlan, StreamServer
from kinemask_chassis.streams.terms import StreamTerms

from kinemask_tracker.engines import Tracker, algorithm_names, create_tracker
from kinemask_tracker.messages import FrameBoxes, config_from_message, settings_to_message
from kinemask_tracker.settings import TrackerServiceSettings
from kinemask_tracker.stream import TrackHandler

AUTO = "auto"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Plan: TypeAlias = (
    "StreamPlan[tracker_pb2.TrackFrame, tracker_pb2.TrackEdit, FrameBoxes, tracker_pb2.TrackResult]"
)


class TrackerServicer(tracker_pb2_grpc.TrackerServiceServicer):
    """Serves every rpc of `TrackerService`."""

    def __init__(self, settings: TrackerServiceSettings, observer: StreamObserver) -> None:
        self._observer = observer
        self.streams = StreamServer(StreamLimits.of(settings))

    async def Track(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[tracker_pb2.TrackRequest], context: Context
    ) -> None:
        await self.streams.serve(
            "Track",
            request_iterator,
            context.write,
            tracker_pb2.TrackResponse,
            self._open,
            self._observer,
        )

    async def ListAlgorithms(
        self, request: tracker_pb2.ListAlgorithmsRequest, context: Context
    ) -> tracker_pb2.ListAlgorithmsResponse:
        names = algorithm_names()
        return tracker_pb2.ListAlgorithmsResponse(
            algorithms=[_algorithm(name, name == names[0]) for name in names]
        )

    async def _open(self, config: tracker_pb2.TrackConfig, terms: StreamTerms) -> Plan:
        tracker = _create(config)
        handler = TrackHandler(tracker)
        if terms.state:
            handler.restore(terms.state)
        effective = tracker_pb2.TrackConfig()
        effective.CopyFrom(config)
        terms.fill_in(effective.stream)
        effective.algorithm = tracker.name
        effective.parameters.CopyFrom(settings_to_message(tracker.settings))
        started = tracker_pb2.TrackStarted(config=effective)
        who = service_info("tracker", engine=tracker.name, model=tracker.name)
        return StreamPlan(handler, started, who)


def _create(config: tracker_pb2.TrackConfig) -> Tracker:
    name = config.algorithm or AUTO
    available = (AUTO, *algorithm_names())
    if name in available:
        return create_tracker(name, config_from_message(config.parameters))
    raise errors.invalid(
        "config.algorithm",
        f"expected one of {', '.join(available)}, found {name!r}",
        reason="UNKNOWN_ALGORITHM",
    )


def _algorithm(name: str, is_default: bool) -> media_pb2.ModelInfo:
    return media_pb2.ModelInfo(
        name=name, engine=name, revision=BUILTIN, ready=True, is_default=is_default
    )
