"""What a face is not: remembered, listed, forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask.v1 import faces_pb2, faces_pb2_grpc
from kinemask_chassis.database import Connection

from kinemask_faces.enrolling import with_models
from kinemask_faces.gallery import rejections
from kinemask_faces.gallery.records import Done, NewRejection, PageQuery
from kinemask_faces.gallery_messages import rejection_to_message
from kinemask_faces.parts import Context, FaceParts
from kinemask_faces.requests import check_text
from kinemask_faces.runner import ModelRunner


class CorrectionServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts

    async def RejectMatch(
        self, request: faces_pb2.RejectMatchRequest, context: Context
    ) -> faces_pb2.RejectMatchResponse:
        if request.WhichOneof("subject") == "sample_id":
            return await self._reject_sample(request)

        async def reject(runners: Sequence[ModelRunner]) -> faces_pb2.RejectMatchResponse:
            found = await self._parts.sources.read_or_refuse(
                request.face, runners, "face", request.gallery_id
            )
            new = NewRejection(request.person_id, found.crop, found.vectors)

            async def work(connection: Connection) -> Done:
                made = await rejections.add(connection, request.gallery_id, new)
                reply = faces_pb2.RejectMatchResponse(rejection=rejection_to_message(made))
                return Done(reply.SerializeToString(), request.gallery_id, (made.person_id,))

            return await self._parts.once(request, faces_pb2.RejectMatchResponse, work)

        return await with_models(self._parts, request.gallery_id, reject)

    async def ListRejections(
        self, request: faces_pb2.ListRejectionsRequest, context: Context
    ) -> faces_pb2.ListRejectionsResponse:
        check_text(request)
        query = PageQuery(request.page_size, request.page_token)
        async with self._parts.access.store.read() as connection:
            page = await rejections.page(
                connection, request.gallery_id, request.person_id, query, request.include_crops
            )
        return faces_pb2.ListRejectionsResponse(
            rejections=map(rejection_to_message, page.entries), next_page_token=page.next_token
        )

    async def DeleteRejection(
        self, request: faces_pb2.DeleteRejectionRequest, context: Context
    ) -> faces_pb2.DeleteRejectionResponse:
        async def work(connection: Connection) -> Done:
            await rejections.delete(connection, request.gallery_id, request.rejection_id)
            return Done(faces_pb2.DeleteRejectionResponse().SerializeToString())

        return await self._parts.once(request, faces_pb2.DeleteRejectionResponse, work)

    async def _reject_sample(
        self, request: faces_pb2.RejectMatchRequest
    ) -> faces_pb2.RejectMatchResponse:
        async def work(connection: Connection) -> Done:
            made = await rejections.add_for_sample(
                connection, request.gallery_id, request.person_id, request.sample_id
            )
            reply = faces_pb2.RejectMatchResponse(rejection=rejection_to_message(made))
            return Done(reply.SerializeToString(), request.gallery_id, (made.person_id,))

        return await self._parts.once(request, faces_pb2.RejectMatchResponse, work)
