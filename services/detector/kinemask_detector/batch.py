"""Detect: a batch of pictures, each with its own result or error."""

from __future__ import annotations

import asyncio
import time

import grpc
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis import errors

from kinemask_detector.messages import Query
from kinemask_detector.pictures import EngineRunner

# These say something of the service or the call, not of one picture.
_OF_THE_WHOLE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.FAILED_PRECONDITION,
}


async def detect_batch(
    runner: EngineRunner, images: list[media_pb2.Image], query: Query, max_in_work: int
) -> list[detector_pb2.ImageDetections]:
    """One result a picture, in order; a picture's own fault is in its result's `error`.

    Raises:
        ServiceError: RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE, FAILED_PRECONDITION:
            nobody is answered.
    """
    places = asyncio.Semaphore(max_in_work)

    async def one(index: int, image: media_pb2.Image) -> detector_pb2.ImageDetections:
        async with places:
            return await _detect_one(runner, image, query, f"images[{index}]")

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, image)) for index, image in enumerate(images)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _detect_one(
    runner: EngineRunner, image: media_pb2.Image, query: Query, field: str
) -> detector_pb2.ImageDetections:
    begun_s = time.monotonic()
    try:
        picture = await runner.read(image, query, field)
        inferred = await runner.infer(picture)
        inferred_s = time.monotonic()
        result = await runner.finish(picture, inferred)
    except Exception as error:  # one picture's failure must not cost the others
        if isinstance(error, errors.ServiceError) and error.code in _OF_THE_WHOLE:
            raise
        return detector_pb2.ImageDetections(error=errors.status_from_exception(error))
    queue_s = max(0.0, inferred_s - begun_s - picture.decode_s - inferred.infer_s)
    timing = media_pb2.Timing(
        queue_ms=queue_s * 1e3,
        decode_ms=picture.decode_s * 1e3,
        infer_ms=inferred.infer_s * 1e3,
        encode_ms=(time.monotonic() - inferred_s) * 1e3,
    )
    result.timing.CopyFrom(timing)
    return result
