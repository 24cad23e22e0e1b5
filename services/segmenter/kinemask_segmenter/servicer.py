"""The segmenter's rpcs: messages to plain values and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Any, TypeAlias

import grpc
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc
from kinemask_chassis.provenance import service_info
from kinemask_chassis.streams import StreamLimits, StreamObserver, StreamPlan, StreamServer
from kinemask_chassis.streams.terms import StreamTerms

from kinemask_segmenter.engines.base import SegmenterEngine, StreamOptions
from kinemask_segmenter.engines.registry import Choice, EngineSet
from kinemask_segmenter.images import ImageSegmenter
from kinemask_segmenter.options import options_from_message, options_to_message
from kinemask_segmenter.settings import SegmenterSettings
from kinemask_segmenter.stream import SegmentHandler

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Config = segmenter_pb2.SegmentVideoConfig
Plan: TypeAlias = "StreamPlan[media_pb2.Frame, segmenter_pb2.SegmentVideoEdit, object, object]"


class SegmenterServicer(segmenter_pb2_grpc.SegmenterServiceServicer):
    """Serves every rpc of `SegmenterService` from one set of engines."""

    def __init__(
        self,
        settings: SegmenterSettings,
        engines: EngineSet,
        executor: Executor,
        observer: StreamObserver,
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._executor = executor
        self._observer = observer
        self._images = ImageSegmenter(executor, settings.max_pixels, settings.segmenter_max_images)
        self.streams = StreamServer(StreamLimits.of(settings))

    async def SegmentImage(
        self, request: segmenter_pb2.SegmentImageRequest, context: Context
    ) -> segmenter_pb2.SegmentImageResponse:
        choice = self._engines.choose(request.model)
        response = await self._images.segment(choice.engine, request)
        response.service.CopyFrom(_who(choice))
        return response

    async def SegmentEverything(
        self, request: segmenter_pb2.SegmentEverythingRequest, context: Context
    ) -> segmenter_pb2.SegmentEverythingResponse:
        choice = self._engines.choose(request.model)
        response = await self._images.segment_everything(choice.engine, request)
        response.service.CopyFrom(_who(choice))
        return response

    async def SegmentVideo(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[segmenter_pb2.SegmentVideoRequest], context: Context
    ) -> None:
        await self.streams.serve(
            "SegmentVideo",
            request_iterator,
            context.write,
            segmenter_pb2.SegmentVideoResponse,
            self._open,
            self._observer,
        )

    async def ListModels(
        self, request: segmenter_pb2.SegmenterServiceListModelsRequest, context: Context
    ) -> segmenter_pb2.SegmenterServiceListModelsResponse:
        models = [_model(engine, engine is self._engines.default) for engine in self._engines]
        models += [
            media_pb2.ModelInfo(name=each.name, engine=each.engine, reason=each.reason)
            for each in self._engines.absent
        ]
        return segmenter_pb2.SegmenterServiceListModelsResponse(models=models)

    async def _open(self, config: Config, terms: StreamTerms) -> Plan:
        choice = self._engines.choose(config.model)
        options = options_from_message(config, choice.engine)
        effective = self._effective(config, terms, choice.engine, options)
        handler = SegmentHandler(
            choice.engine,
            options,
            self._executor,
            max_pixels=self._settings.max_pixels,
            max_objects=effective.max_objects,
            encoding=effective.mask_encoding,
        )
        if terms.state:
            await handler.restore(terms.state)
        edits = choice.engine.info.edits
        started = segmenter_pb2.SegmentVideoStarted(config=effective, edits=edits)
        return StreamPlan(handler, started, _who(choice))

    def _effective(
        self, config: Config, terms: StreamTerms, engine: SegmenterEngine, options: StreamOptions
    ) -> Config:
        """The config as it holds, defaults filled in."""
        effective = Config()
        effective.CopyFrom(config)
        terms.fill_in(effective.stream)
        effective.model = engine.info.name
        effective.mask_encoding = config.mask_encoding or media_pb2.MASK_ENCODING_RLE
        options_to_message(options, effective)
        effective.max_objects = config.max_objects or self._settings.segmenter_max_objects
        return effective


def _who(choice: Choice) -> media_pb2.ServiceInfo:
    info = choice.engine.info
    return service_info(
        "segmenter",
        engine=info.engine,
        model=info.model,
        revision=info.revision,
        device=info.device,
        notice="; ".join(each for each in (choice.notice, info.notice) if each),
    )


def _model(engine: SegmenterEngine, is_default: bool) -> media_pb2.ModelInfo:
    info = engine.info
    return media_pb2.ModelInfo(
        name=info.name,
        engine=info.engine,
        revision=info.revision,
        ready=True,
        is_default=is_default,
        edits=info.edits,
    )
