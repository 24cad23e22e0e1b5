"""The faces service's rpcs: messages to plain values and back.

So far those that need no gallery; the others answer UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2

from kinemask_faces.engines.registry import Chosen, FaceModels
from kinemask_faces.looking import FaceLooker
from kinemask_faces.messages import models_to_messages, query_from_message, who
from kinemask_faces.runner import ModelRunner

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class FacesServicer(faces_pb2_grpc.FacesServiceServicer):
    """`runners` has one for each model, by name."""

    def __init__(
        self, models: FaceModels, runners: Mapping[str, ModelRunner], looker: FaceLooker
    ) -> None:
        self._models, self._runners, self._looker = models, runners, looker

    async def DetectFaces(
        self, request: faces_pb2.DetectFacesRequest, context: Context
    ) -> faces_pb2.DetectFacesResponse:
        choice = self._models.choose(request.model)
        results = await self._looker.detect_batch(
            self._runner(choice),
            list(request.images),
            query_from_message(request.options),
            request.include_embeddings,
        )
        return faces_pb2.DetectFacesResponse(results=results, service=who(choice))

    async def VerifyFaces(
        self, request: faces_pb2.VerifyFacesRequest, context: Context
    ) -> faces_pb2.VerifyFacesResponse:
        choice = self._models.choose(request.model)
        runner, begun_s = self._runner(choice), time.monotonic()
        first, second = await asyncio.gather(
            self._looker.one_face(runner, request.first, "first"),
            self._looker.one_face(runner, request.second, "second"),
        )
        own = choice.model.info.match_threshold
        threshold = request.threshold if request.HasField("threshold") else own
        # Rounding may take the product of two unit vectors a hair over one.
        alike = min(max(float(first.embedded.vector @ second.embedded.vector), -1.0), 1.0)
        infer_s = max(first.infer_s, second.infer_s)
        decode_s = max(first.decode_s, second.decode_s)
        timing = media_pb2.Timing(
            queue_ms=max(0.0, time.monotonic() - begun_s - infer_s - decode_s) * 1e3,
            decode_ms=decode_s * 1e3,
            infer_ms=infer_s * 1e3,
        )
        return faces_pb2.VerifyFacesResponse(
            same=alike >= threshold,
            similarity=alike,
            threshold=threshold,
            first=first.to_message(),
            second=second.to_message(),
            timing=timing,
            service=who(choice),
        )

    async def ListModels(
        self, request: faces_pb2.FacesServiceListModelsRequest, context: Context
    ) -> faces_pb2.FacesServiceListModelsResponse:
        return faces_pb2.FacesServiceListModelsResponse(models=models_to_messages(self._models))

    def _runner(self, choice: Chosen) -> ModelRunner:
        return self._runners[choice.model.info.name]
