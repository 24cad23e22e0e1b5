"""The captioner's rpcs: messages to plain values and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc
from kinemask.v1 import captioner_pb2, captioner_pb2_grpc

from kinemask_captioner.batch import caption_batch
from kinemask_captioner.engines.registry import EngineSet
from kinemask_captioner.messages import (
    absent_to_message,
    engine_to_message,
    query_from_message,
    service_to_message,
)
from kinemask_captioner.runner import CaptionRunner
from kinemask_captioner.settings import CaptionerSettings

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class CaptionerServicer(captioner_pb2_grpc.CaptionerServiceServicer):
    """Serves every rpc of `CaptionerService`."""

    def __init__(
        self, settings: CaptionerSettings, engines: EngineSet, runner: CaptionRunner
    ) -> None:
        self._max_in_work = settings.captioner_max_in_work
        self._engines = engines
        self._runner = runner

    async def Caption(
        self, request: captioner_pb2.CaptionRequest, context: Context
    ) -> captioner_pb2.CaptionResponse:
        choice = self._engines.choose(request.options.model)
        query = query_from_message(request.options)
        await self._runner.check(choice.engine, query)
        results = await caption_batch(
            self._runner, choice.engine, query, list(request.images), self._max_in_work
        )
        return captioner_pb2.CaptionResponse(results=results, service=service_to_message(choice))

    async def ListModels(
        self, request: captioner_pb2.CaptionerServiceListModelsRequest, context: Context
    ) -> captioner_pb2.CaptionerServiceListModelsResponse:
        default = self._engines.default
        models = [engine_to_message(engine, engine is default) for engine in self._engines]
        models += [absent_to_message(model) for model in self._engines.absent]
        return captioner_pb2.CaptionerServiceListModelsResponse(models=models)
