"""AnnotationService: each rpc, and who does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import annotations_pb2_grpc

from kinemask_gateway.annotations.rooms import Rooms


class AnnotationServicer(annotations_pb2_grpc.AnnotationServiceServicer):
    """Passes each request on; what it does is told in annotations.proto."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    # --- sessions

    async def CreateSession(
        self, request: pb.CreateSessionRequest, context: Any
    ) -> pb.CreateSessionResponse:
        return await self._rooms.sessions.create(request)

    async def GetSession(
        self, request: pb.GetSessionRequest, context: Any
    ) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=await self._rooms.sessions.get(request.session_id))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Any
    ) -> pb.ListSessionsResponse:
        return await self._rooms.sessions.page(request)

    async def DeleteSession(
        self, request: pb.DeleteSessionRequest, context: Any
    ) -> pb.DeleteSessionResponse:
        return await self._rooms.sessions.delete(request)

    async def ResumeSession(
        self, request: pb.ResumeSessionRequest, context: Any
    ) -> pb.ResumeSessionResponse:
        return await self._rooms.sessions.resume(request)

    # --- prompts and objects

    async def AddPrompts(
        self, request: pb.AddPromptsRequest, context: Any
    ) -> pb.AddPromptsResponse:
        return await self._rooms.prompting.add(request)

    async def ClearPrompts(
        self, request: pb.ClearPromptsRequest, context: Any
    ) -> pb.ClearPromptsResponse:
        return await self._rooms.retracting.clear(request)

    async def RemovePrompts(
        self, request: pb.RemovePromptsRequest, context: Any
    ) -> pb.RemovePromptsResponse:
        return await self._rooms.retracting.remove(request)

    async def ListPrompts(
        self, request: pb.ListPromptsRequest, context: Any
    ) -> pb.ListPromptsResponse:
        return await self._rooms.reading.prompts(request)

    async def UpdateObject(
        self, request: pb.UpdateObjectRequest, context: Any
    ) -> pb.UpdateObjectResponse:
        return await self._rooms.objects.update(request)

    async def RemoveObject(
        self, request: pb.RemoveObjectRequest, context: Any
    ) -> pb.RemoveObjectResponse:
        return await self._rooms.objects.remove(request)

    # --- masks

    async def Propagate(
        self, request: pb.PropagateRequest, context: Any
    ) -> AsyncIterator[pb.PropagateResponse]:
        async with aclosing(self._rooms.propagations.propagate(request)) as answers:
            async for answer in answers:
                yield answer

    async def CancelPropagation(
        self, request: pb.CancelPropagationRequest, context: Any
    ) -> pb.CancelPropagationResponse:
        return await self._rooms.propagations.cancel(request)

    async def GetMasks(
        self, request: pb.GetMasksRequest, context: Any
    ) -> AsyncIterator[pb.GetMasksResponse]:
        async for answer in self._rooms.reading.masks(request):
            yield answer

    async def GetOverlay(
        self, request: pb.GetOverlayRequest, context: Any
    ) -> pb.GetOverlayResponse:
        return await self._rooms.reading.overlay(request)
