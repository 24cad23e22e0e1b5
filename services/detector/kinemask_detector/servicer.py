"""The detector's rpcs: messages to plain values and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import grpc
from kinemask.v1 import detector_pb2, detector_pb2_grpc, media_pb2
from kinemask_chassis.streams import StreamLimits, StreamObserver, StreamPlan, StreamServer
from kinemask_chassis.streams.terms import StreamTerms

from kinemask_detector.batch import detect_batch
from kinemask_detector.engines.registry import Choice, EngineSet
from kinemask_detector.messages import absent_to_message, engine_to_message, service_to_message
from kinemask_detector.pictures import EngineRunner
from kinemask_detector.settings import DetectorSettings
from kinemask_detector.stream import Ahead, DetectHandler, Seen, opening_options

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
        choice = await self._choose(request.options)
        runner = self._runner(choice)
        query = await runner.query(request.options, "options")
        results = await detect_batch(
            runner, list(request.images), query, self._settings.detector_max_in_work
        )
        return detector_pb2.DetectResponse(results=results, service=service_to_message(choice))

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
        default = self._engines.default
        models = [engine_to_message(engine, engine is default) for engine in self._engines]
        models += [absent_to_message(model) for model in self._engines.absent]
        return detector_pb2.DetectorServiceListModelsResponse(models=models)

    async def _open(self, config: Config, terms: StreamTerms) -> Plan:
        # A stream that goes on from a token looks for what it did, with the model it had.
        options = opening_options(config.options, terms)
        choice = await self._choose(options)
        handler = await DetectHandler.opened(self._runner(choice), options, terms)
        effective = Config()
        effective.CopyFrom(config)
        terms.fill_in(effective.stream)
        effective.options.CopyFrom(handler.options)
        started = detector_pb2.DetectStreamStarted(config=effective)
        return StreamPlan(handler, started, service_to_message(choice))

    async def _choose(self, options: detector_pb2.DetectOptions) -> Choice:
        # Off the loop: an engine may have to read a tokenizer to say whether it can.
        prompts, classes = tuple(options.prompts), tuple(options.classes)
        return await asyncio.to_thread(self._engines.choose, options.model, prompts, classes)

    def _runner(self, choice: Choice) -> EngineRunner:
        return self._runners[choice.engine.info.name]
