"""A gallery embedded for another model, from the crops that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from kinemask.images import ImageError
from kinemask.v1 import faces_pb2
from kinemask_chassis.database import Connection

from kinemask_faces.crops import FaceCrop, read_crop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.gallery import galleries
from kinemask_faces.gallery.records import Gallery, GalleryChanges
from kinemask_faces.gallery_messages import gallery_to_message
from kinemask_faces.looking import FaceLooker
from kinemask_faces.model_keys import key_of
from kinemask_faces.parts import FaceParts
from kinemask_faces.runner import ModelRunner, Vector


async def reembed(
    parts: FaceParts, request: faces_pb2.ReembedGalleryRequest
) -> AsyncIterator[faces_pb2.ReembedGalleryResponse]:
    """How far it is, until it is done; then what was asked for at the end is done too.

    Raises:
        ServiceError: NOT_FOUND (gallery or model), FAILED_PRECONDITION (weights), ABORTED (another
            call is at it), UNAVAILABLE.
    """
    choice = parts.models.choose(request.model)
    runner, key = parts.runner(choice), key_of(choice.model.info)

    async def embed(crops: Sequence[FaceCrop]) -> Sequence[Vector | None]:
        return await asyncio.gather(*(_embed(parts.looker, runner, crop) for crop in crops))

    reply = faces_pb2.ReembedGalleryResponse()
    # Closed at once if the client goes.
    async with aclosing(parts.access.store.reembed(request.gallery_id, key, embed)) as steps:
        async for step in steps:
            reply = faces_pb2.ReembedGalleryResponse(
                done_count=step.done_count,
                total_count=step.total_count,
                failed_count=step.failed_count,
            )
            yield reply
    gallery = await _concluded(parts, request, key.name)
    reply.done = True
    reply.gallery.CopyFrom(gallery_to_message(gallery))
    yield reply


async def _concluded(
    parts: FaceParts, request: faces_pb2.ReembedGalleryRequest, model: str
) -> Gallery:
    async def work(connection: Connection) -> Gallery:
        if request.make_default:
            changes = GalleryChanges(default_model=model)
            await galleries.update(connection, request.gallery_id, changes)
        if request.drop_other_models:
            await galleries.drop_other_models(connection, request.gallery_id, model)
        return await galleries.get(connection, request.gallery_id)

    return await parts.access.store.write(work)


async def _embed(looker: FaceLooker, runner: ModelRunner, crop: FaceCrop) -> Vector | None:
    """None: the crop is no face that this model could align."""
    try:
        image = await looker.off_loop(read_crop, crop.jpeg)
        whole = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        [one] = await runner.embed(image, [DetectedFace(whole, 1.0, crop.landmarks_xy)])
    except (ImageError, ValueError):
        return None
    return one.vector
