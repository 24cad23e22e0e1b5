"""Galleries: made, listed, changed, removed, embedded for another model."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kinemask.v1 import faces_pb2, faces_pb2_grpc
from kinemask_chassis.database import Connection

from kinemask_faces.gallery import galleries
from kinemask_faces.gallery.records import Done, GalleryChanges, NewGallery, PageQuery
from kinemask_faces.gallery_messages import gallery_to_message
from kinemask_faces.model_keys import key_of
from kinemask_faces.parts import Context, FaceParts
from kinemask_faces.reembedding import reembed
from kinemask_faces.requests import check_name, check_new_id, check_text, metadata_json


class GalleryServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts

    async def CreateGallery(
        self, request: faces_pb2.CreateGalleryRequest, context: Context
    ) -> faces_pb2.CreateGalleryResponse:
        new = NewGallery(
            model=key_of(self._parts.models.choose(request.model).model.info),
            gallery_id=check_new_id("gallery_id", request.gallery_id),
            display_name=request.display_name,
            metadata_json=metadata_json(request.metadata),
        )

        async def work(connection: Connection) -> Done:
            made = await galleries.create(connection, new)
            reply = faces_pb2.CreateGalleryResponse(gallery=gallery_to_message(made))
            return Done(reply.SerializeToString(), made.gallery_id)

        return await self._parts.once(request, faces_pb2.CreateGalleryResponse, work)

    async def GetGallery(
        self, request: faces_pb2.GetGalleryRequest, context: Context
    ) -> faces_pb2.GetGalleryResponse:
        check_text(request)
        async with self._parts.access.store.read() as connection:
            found = await galleries.get(connection, request.gallery_id)
        return faces_pb2.GetGalleryResponse(gallery=gallery_to_message(found))

    async def ListGalleries(
        self, request: faces_pb2.ListGalleriesRequest, context: Context
    ) -> faces_pb2.ListGalleriesResponse:
        check_text(request)
        query = PageQuery(request.page_size, request.page_token)
        async with self._parts.access.store.read() as connection:
            page = await galleries.page(connection, "", query)
        return faces_pb2.ListGalleriesResponse(
            galleries=map(gallery_to_message, page.entries), next_page_token=page.next_token
        )

    async def UpdateGallery(
        self, request: faces_pb2.UpdateGalleryRequest, context: Context
    ) -> faces_pb2.UpdateGalleryResponse:
        changes = _changes(request)

        async def work(connection: Connection) -> Done:
            changed = await galleries.update(connection, request.gallery_id, changes)
            reply = faces_pb2.UpdateGalleryResponse(gallery=gallery_to_message(changed))
            return Done(reply.SerializeToString(), request.gallery_id)

        return await self._parts.once(request, faces_pb2.UpdateGalleryResponse, work)

    async def DeleteGallery(
        self, request: faces_pb2.DeleteGalleryRequest, context: Context
    ) -> faces_pb2.DeleteGalleryResponse:
        async def work(connection: Connection) -> Done:
            gone = await galleries.delete(connection, request.gallery_id, request.force)
            reply = faces_pb2.DeleteGalleryResponse(
                person_count=gone.person_count, sample_count=gone.sample_count
            )
            return Done(reply.SerializeToString())

        return await self._parts.once(request, faces_pb2.DeleteGalleryResponse, work)

    async def ClearGallery(
        self, request: faces_pb2.ClearGalleryRequest, context: Context
    ) -> faces_pb2.ClearGalleryResponse:
        async def work(connection: Connection) -> Done:
            gone = await galleries.clear(connection, request.gallery_id, request.only_strangers)
            reply = faces_pb2.ClearGalleryResponse(
                person_count=gone.person_count, sample_count=gone.sample_count
            )
            return Done(reply.SerializeToString())

        return await self._parts.once(request, faces_pb2.ClearGalleryResponse, work)

    async def ReembedGallery(
        self, request: faces_pb2.ReembedGalleryRequest, context: Context
    ) -> AsyncIterator[faces_pb2.ReembedGalleryResponse]:
        """How far it is, until it is done."""
        check_text(request)
        async for progress in reembed(self._parts, request):
            yield progress


def _changes(request: faces_pb2.UpdateGalleryRequest) -> GalleryChanges:
    named = request.HasField("display_name")
    given = request.HasField("metadata")
    return GalleryChanges(
        display_name=check_name("display_name", request.display_name) if named else None,
        metadata_json=metadata_json(request.metadata) if given else None,
        default_model=request.default_model if request.HasField("default_model") else None,
    )
