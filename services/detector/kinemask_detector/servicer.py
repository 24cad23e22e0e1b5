"""The detector's rpcs: messages to plain values and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import grpc
from kinemask.v1 import detector_pb2, detector_pb2_grpc, media_pb2
from kinemask_chassis.provenance import service_info
from kinemask_chassis.streams import StreamLimits, StreamObserver, StreamPlan, StreamServer
from kinemask_chassis.streams.terms import StreamTerms

from kinemask_detector.batch import detect_batch
from kinemask_detector.engines.registry import Choice, EngineSet
from kinemask_detector.messages import model_to_message, query_from_message
from kinemask_detector.pictures import EngineRunner
from kinemask_detector.settings import DetectorSettings
from kinemask_detector.stream import Ahead, DetectHandler, Seen

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Config = detector_pb2.DetectStreamConfig
Plan: TypeAlias = "StreamPlan[media_pb2.Frame, detector_pb2.DetectStreamEdit, Ahead, Seen]"


class DetectorServicer(detector_pb2_grpc.DetectorServiceServicer):
    """Serves every rpc of `DetectorService`; `runners` has one for each engine, by name."""

    def __init__(
        self,
        settings: DetectorSettings,
        engines: EngineSet,
        runners: Mapping[str, EngineRunner],
        observer: StreamObserver,
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._runners = runners
        self._observer = observer
        self.streams = StreamServer(StreamLimits.of(settings))

    async def Detect(
        self, request: detector_pb2.DetectRequest, context: Context
    ) -> detector_pb2.DetectResponse:
        choice = self._engines.choose(request.options.model)
        query = query_from_message(request.options, choice.engine)
        results = await detect_batch(
            self._runner(choice), list(request.images), query, self._settings.detector_max_in_work
        )
        return detector_pb2.DetectResponse(results=results, service=_who(choice))

    async def DetectStream(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[detector_pb2.DetectStreamRequest], context: Context
    ) -> None:
        await self.streams.serve(
            "DetectStream",
            request_iterator,
            context.write,
            detector_pb2.DetectStreamResponse,
            self._open,
            self._observer,
        )

    async def ListModels(
        self, request: detector_pb2.DetectorServiceListModelsRequest, context: Context
    ) -> detector_pb2.DetectorServiceListModelsResponse:
        models = [model_to_message(one.info, one is self._engines.default) for one in self._engines]
        return detector_pb2.DetectorServiceListModelsResponse(models=models)

    async def _open(self, config: Config, terms: StreamTerms) -> Plan:
        choice = self._engines.choose(config.options.model)
        handler = DetectHandler(self._runner(choice), config.options, terms)
        effective = Config()
        effective.CopyFrom(config)
        terms.fill_in(effective.stream)
        effective.options.CopyFrom(handler.options)
        started = detector_pb2.DetectStreamStarted(config=effective)
        return StreamPlan(handler, started, _who(choice))

    def _runner(self, choice: Choice) -> EngineRunner:
        return self._runners[choice.engine.info.name]


def _who(choice: Choice) -> media_pb2.ServiceInfo:
    info = choice.engine.info
    return service_info(
        "detector",
        engine=info.name,
        model=info.model,
        revision=info.revision,
        device=info.device,
        notice=choice.notice,
    )
