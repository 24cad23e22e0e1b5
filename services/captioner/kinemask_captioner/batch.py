"""Caption: a batch of pictures, each with its own result or error."""

from __future__ import annotations

import asyncio
import time

import grpc
from kinemask.v1 import captioner_pb2, media_pb2
from kinemask_chassis import errors

from kinemask_captioner.engines.base import CaptionQuery
from kinemask_captioner.engines.registry import AnyEngine
from kinemask_captioner.messages import caption_to_message
from kinemask_captioner.runner import CaptionRunner

# These say something of the service or the call, not of one picture.
_OF_THE_WHOLE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.FAILED_PRECONDITION,
}


async def caption_batch(
    runner: CaptionRunner,
    engine: AnyEngine,
    query: CaptionQuery,
    images: list[media_pb2.Image],
    max_in_work: int,
) -> list[captioner_pb2.ImageCaption]:
    """One result a picture, in order; a picture's own fault is in its result's `error`.

    Raises:
        ServiceError: RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE, FAILED_PRECONDITION:
            nobody is answered.
    """
    places = asyncio.Semaphore(max_in_work)

    async def one(index: int, image: media_pb2.Image) -> captioner_pb2.ImageCaption:
        async with places:
            return await _caption_one(runner, engine, query, image, f"images[{index}]")

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, image)) for index, image in enumerate(images)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _caption_one(
    runner: CaptionRunner,
    engine: AnyEngine,
    query: CaptionQuery,
    image: media_pb2.Image,
    field: str,
) -> captioner_pb2.ImageCaption:
    begun_s = time.monotonic()
    try:
        work = await runner.read(image, engine, query, field)
        inferred = await runner.infer(work)
        inferred_s = time.monotonic()
        result = caption_to_message(await runner.finish(work, inferred))
    except Exception as error:  # one picture's failure must not cost the others
        if isinstance(error, errors.ServiceError) and error.code in _OF_THE_WHOLE:
            raise
        return captioner_pb2.ImageCaption(error=errors.status_from_exception(error))
    queue_s = max(0.0, inferred_s - begun_s - work.decode_s - inferred.infer_s)
    result.timing.queue_ms = queue_s * 1e3
    result.timing.decode_ms = work.decode_s * 1e3
    result.timing.infer_ms = inferred.infer_s * 1e3
    result.timing.encode_ms = (time.monotonic() - inferred_s) * 1e3
    return result
