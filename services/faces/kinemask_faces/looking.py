"""Pictures in, faces out: decoding, finding, judging and embedding, for every rpc."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import grpc
from google.rpc import status_pb2
from kinemask.v1 import faces_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import decode_image

from kinemask_faces.crops import FaceCrop, cut_crop
from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.messages import FaceQuery, face_to_message
from kinemask_faces.quality import FaceQuality, assess
from kinemask_faces.runner import ModelRunner, Vector
from kinemask_faces.seen import SeenFace

P = ParamSpec("P")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# These say something of the service or the call, not of one picture.
_OF_THE_WHOLE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
}


@dataclass(frozen=True)
class SeenPicture:
    """A picture and the faces that were found in it."""

    faces: list[SeenFace]
    """Largest first."""
    height: int
    width: int
    timing: media_pb2.Timing


class FaceLooker:
    """Reads pictures and asks a model about them; decoding and judging run in `executor`."""

    def __init__(self, executor: Executor, max_pixels: int, max_in_work: int) -> None:
        self._executor = executor
        self._max_pixels = max_pixels
        self._max_in_work = max_in_work

    async def each(
        self,
        items: Sequence[ItemT],
        name: str,
        work: Callable[[ItemT, str], Awaitable[ResultT]],
        failed: Callable[[status_pb2.Status], ResultT],
    ) -> list[ResultT]:
        """One result an item, in order, a few at a time; an item's own fault is `failed`'s.

        Args:
            items: the request's.
            name: of their field.
            work: takes an item and its place in the request, such as `images[3]`.
            failed: makes a result of what went wrong with an item.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE: nobody is answered.
        """
        places = asyncio.Semaphore(self._max_in_work)

        async def one(index: int, item: ItemT) -> ResultT:
            async with places:
                try:
                    return await work(item, f"{name}[{index}]")
                except Exception as error:  # one item's failure must not cost the others
                    if isinstance(error, errors.ServiceError) and error.code in _OF_THE_WHOLE:
                        raise
                    return failed(errors.status_from_exception(error))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(k, item)) for k, item in enumerate(items)]
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return [task.result() for task in tasks]

    async def detect(
        self,
        runner: ModelRunner,
        message: media_pb2.Image,
        query: FaceQuery,
        include_embeddings: bool,
        field: str,
    ) -> faces_pb2.ImageFaces:
        """The faces of one picture, embedded only where that was asked for.

        Raises:
            ServiceError: INVALID_ARGUMENT: an undecodable or too large picture; what `find` raises.
        """
        begun_s = time.monotonic()
        image = await self.decode(message, field)
        decoded_s = time.monotonic()
        looked = await runner.find(image, query.score_threshold)
        faces = query.keep(looked.faces)
        embedded = await runner.embed(image, faces) if include_embeddings else []
        infer_s = looked.infer_s + max((one.infer_s for one in embedded), default=0.0)
        done_s = time.monotonic()
        qualities = [await self.judge(image, face) for face in faces]
        vectors: list[Vector | None] = [one.vector for one in embedded]
        vectors = vectors or [None] * len(faces)
        return faces_pb2.ImageFaces(
            faces=map(face_to_message, faces, qualities, vectors),
            width=image.shape[1],
            height=image.shape[0],
            timing=timing_of(decoded_s - begun_s, done_s - decoded_s, infer_s),
        )

    async def see(
        self, runner: ModelRunner, message: media_pb2.Image, query: FaceQuery, field: str
    ) -> SeenPicture:
        """Every face of one picture with all that is to be known of it.

        Raises:
            ServiceError: as for `detect`.
        """
        begun_s = time.monotonic()
        image = await self.decode(message, field)
        decoded_s = time.monotonic()
        looked = await runner.find(image, query.score_threshold)
        faces = query.keep(looked.faces)
        seen, embed_s = await self.look_at(runner, image, faces)
        timing = timing_of(
            decoded_s - begun_s, time.monotonic() - decoded_s, looked.infer_s + embed_s
        )
        return SeenPicture(seen, image.shape[0], image.shape[1], timing)

    async def look_at(
        self, runner: ModelRunner, image: Image, faces: Sequence[DetectedFace]
    ) -> tuple[list[SeenFace], float]:
        """Faces that were found in a picture, judged, embedded and cut out; and inference seconds.

        Raises:
            ServiceError: as for `ModelRunner.embed`.
        """
        embedded, judged = await asyncio.gather(
            runner.embed(image, faces),
            asyncio.gather(*(self.off_loop(_judge_and_cut, image, face) for face in faces)),
        )
        seen = [
            SeenFace(face, quality, one.vector, crop)
            for face, one, (quality, crop) in zip(faces, embedded, judged, strict=True)
        ]
        return seen, max((one.infer_s for one in embedded), default=0.0)

    async def decode(self, message: media_pb2.Image, field: str) -> Image:
        """The picture as `(H, W, 3)` uint8 RGB, upright; too large a one is refused undecoded.

        Raises:
            ServiceError: INVALID_ARGUMENT.
        """
        return await self.off_loop(decode_image, message, self._max_pixels, field)

    async def judge(self, image: Image, face: DetectedFace) -> FaceQuality:
        """How good a face is."""
        return await self.off_loop(assess, image, face)

    async def off_loop(
        self, work: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        """Run what blocks in this service's threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))


def timing_of(decode_s: float, after_s: float, infer_s: float) -> media_pb2.Timing:
    """Where a picture's time went: `after_s` since it was decoded, `infer_s` of it in the model."""
    return media_pb2.Timing(
        queue_ms=max(0.0, after_s - infer_s) * 1e3,
        decode_ms=decode_s * 1e3,
        infer_ms=infer_s * 1e3,
    )


def _judge_and_cut(image: Image, face: DetectedFace) -> tuple[FaceQuality, FaceCrop]:
    return assess(image, face), cut_crop(image, face.landmarks_xy)
