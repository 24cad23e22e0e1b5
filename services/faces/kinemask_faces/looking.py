"""DetectFaces and VerifyFaces: pictures in, faces and their likeness out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass

import grpc
import numpy as np
from kinemask.v1 import faces_pb2, media_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import check_box, decode_image

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.geometry import overlaps
from kinemask_faces.messages import FaceQuery, face_to_message
from kinemask_faces.quality import FaceQuality, assess
from kinemask_faces.runner import Embedded, ModelRunner, Vector

# These say something of the service or the call, not of one picture.
_OF_THE_WHOLE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
}
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class OneFace:
    """The face that a picture was sent for."""

    face: DetectedFace
    quality: FaceQuality
    embedded: Embedded
    decode_s: float
    infer_s: float

    def to_message(self) -> faces_pb2.Face:
        """Without its vector."""
        return face_to_message(self.face, self.quality)


class FaceLooker:
    """Reads pictures and asks a model about them; decoding and judging run in `executor`."""

    def __init__(self, executor: Executor, max_pixels: int, max_in_work: int) -> None:
        self._executor = executor
        self._max_pixels = max_pixels
        self._max_in_work = max_in_work

    async def detect_batch(
        self,
        runner: ModelRunner,
        images: list[media_pb2.Image],
        query: FaceQuery,
        include_embeddings: bool,
    ) -> list[faces_pb2.ImageFaces]:
        """One result a picture, in order; a picture's own fault is in its result's `error`.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE: nobody is answered.
        """
        places = asyncio.Semaphore(self._max_in_work)

        async def one(index: int, image: media_pb2.Image) -> faces_pb2.ImageFaces:
            async with places:
                try:
                    return await self._detect(
                        runner, image, query, include_embeddings, f"images[{index}]"
                    )
                except Exception as error:  # one picture's failure must not cost the others
                    if isinstance(error, errors.ServiceError) and error.code in _OF_THE_WHOLE:
                        raise
                    return faces_pb2.ImageFaces(error=errors.status_from_exception(error))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(k, image)) for k, image in enumerate(images)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def one_face(
        self, runner: ModelRunner, source: faces_pb2.FaceSource, field: str
    ) -> OneFace:
        """The face that is meant, as a vector.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable, too large, a box outside the picture, or
                reason NO_FACE or SEVERAL_FACES.
        """
        if source.WhichOneof("source") != "image":
            # Tokens come from Recognise alone.
            raise errors.invalid(
                f"{field}.face_token",
                "expected a token that this service made, found another: send the picture",
            )
        begun_s = time.monotonic()
        image = await self._decode(source.image, f"{field}.image")
        decode_s = time.monotonic() - begun_s
        looked = await runner.find(image)
        face = _the_one(looked.faces, source, image, field)
        [embedded] = await runner.embed(image, [face])
        quality = await self._off_loop_assess(image, face)
        return OneFace(face, quality, embedded, decode_s, looked.infer_s + embedded.infer_s)

    async def _detect(
        self,
        runner: ModelRunner,
        message: media_pb2.Image,
        query: FaceQuery,
        include_embeddings: bool,
        field: str,
    ) -> faces_pb2.ImageFaces:
        begun_s = time.monotonic()
        image = await self._decode(message, field)
        decoded_s = time.monotonic()
        looked = await runner.find(image, query.score_threshold)
        faces = query.keep(looked.faces)
        embedded = await runner.embed(image, faces) if include_embeddings else []
        infer_s = looked.infer_s + max((one.infer_s for one in embedded), default=0.0)
        done_s = time.monotonic()
        qualities = [await self._off_loop_assess(image, face) for face in faces]
        vectors: list[Vector | None] = [one.vector for one in embedded]
        vectors = vectors or [None] * len(faces)
        return faces_pb2.ImageFaces(
            faces=map(face_to_message, faces, qualities, vectors),
            width=image.shape[1],
            height=image.shape[0],
            timing=media_pb2.Timing(
                queue_ms=max(0.0, done_s - decoded_s - infer_s) * 1e3,
                decode_ms=(decoded_s - begun_s) * 1e3,
                infer_ms=infer_s * 1e3,
                encode_ms=(time.monotonic() - done_s) * 1e3,
            ),
        )

    async def _decode(self, message: media_pb2.Image, field: str) -> Image:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, decode_image, message, self._max_pixels, field
        )

    async def _off_loop_assess(self, image: Image, face: DetectedFace) -> FaceQuality:
        return await asyncio.get_running_loop().run_in_executor(self._executor, assess, image, face)


def _the_one(
    faces: list[DetectedFace], source: faces_pb2.FaceSource, image: Image, field: str
) -> DetectedFace:
    """By the box if there is one, else the largest or the only one."""
    at_box = source.HasField("box")
    if at_box:
        wanted = np.array(check_box(source.box, image.shape[0], image.shape[1], f"{field}.box"))
        shared = [float(overlaps(wanted, np.array([face.box_xyxy]))[0][0]) for face in faces]
        if not shared or max(shared) < _LEAST_OVERLAP:
            faces = []
        else:
            faces = [faces[int(np.argmax(shared))]]
    if not faces:
        where = " at the box" if at_box else ""
        raise errors.invalid(field, f"expected a face{where}, found none", reason="NO_FACE")
    if len(faces) > 1 and source.choice == faces_pb2.FACE_CHOICE_ONLY:
        raise errors.invalid(
            field, f"expected one face, found {len(faces)}", reason="SEVERAL_FACES"
        )
    return faces[0]
