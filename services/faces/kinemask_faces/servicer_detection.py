"""DetectFaces, VerifyFaces and ListModels: what needs no gallery."""

from __future__ import annotations

import asyncio
import time

from google.rpc import status_pb2
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2

from kinemask_faces.messages import models_to_messages, query_from_message, who
from kinemask_faces.parts import Context, FaceParts


class DetectionServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts

    async def DetectFaces(
        self, request: faces_pb2.DetectFacesRequest, context: Context
    ) -> faces_pb2.DetectFacesResponse:
        parts = self._parts
        choice = parts.models.choose(request.model)
        runner, query = parts.runner(choice), query_from_message(request.options)

        async def detect(image: media_pb2.Image, field: str) -> faces_pb2.ImageFaces:
            return await parts.looker.detect(
                runner, image, query, request.include_embeddings, field
            )

        results = await parts.looker.each(request.images, "images", detect, _failed)
        return faces_pb2.DetectFacesResponse(results=results, service=who(choice))

    async def VerifyFaces(
        self, request: faces_pb2.VerifyFacesRequest, context: Context
    ) -> faces_pb2.VerifyFacesResponse:
        choice = self._parts.models.choose(request.model)
        runner, begun_s = self._parts.runner(choice), time.monotonic()
        read, model = self._parts.sources.read_or_refuse, choice.model.info
        first, second = await asyncio.gather(
            read(request.first, [runner], "first"), read(request.second, [runner], "second")
        )
        threshold = model.match_threshold
        if request.HasField("threshold"):
            threshold = request.threshold
        # Rounding may take the product of two unit vectors a hair over one.
        alike = float(first.vectors[model.name] @ second.vectors[model.name])
        alike = min(max(alike, -1.0), 1.0)
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
        models = models_to_messages(self._parts.models)
        return faces_pb2.FacesServiceListModelsResponse(models=models)


def _failed(status: status_pb2.Status) -> faces_pb2.ImageFaces:
    return faces_pb2.ImageFaces(error=status)
