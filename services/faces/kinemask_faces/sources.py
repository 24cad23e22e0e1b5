"""The face that a request is about: in a picture, or in a token of an earlier answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import check_box

from kinemask_faces.crops import FaceCrop, cut_crop, read_crop
from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.geometry import overlaps
from kinemask_faces.gallery.records import ModelKey
from kinemask_faces.looking import FaceLooker
from kinemask_faces.messages import face_to_message
from kinemask_faces.model_keys import key_of_runner
from kinemask_faces.quality import FaceQuality
from kinemask_faces.runner import ModelRunner, Vector
from kinemask_faces.seen import SeenFace
from kinemask_faces.tokens import FaceTokens

_LEAST_OVERLAP = 0.1

Problem: TypeAlias = faces_pb2.FaceProblem.ValueType
OpenTokens = Callable[[], Awaitable[FaceTokens]]
"""Gives the tokens, once the database has said the key. Raises ServiceError UNAVAILABLE."""


class UnusableSource(Exception):
    """A picture without the one face that is needed."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem

    def to_error(self, field: str) -> errors.ServiceError:
        """INVALID_ARGUMENT about this field, reason NO_FACE or SEVERAL_FACES."""
        several = self.problem == faces_pb2.FACE_PROBLEM_SEVERAL_FACES
        reason = "SEVERAL_FACES" if several else "NO_FACE"
        return errors.invalid(field, str(self), reason=reason)


@dataclass(frozen=True)
class SourceFace:
    """The face that is meant."""

    face: DetectedFace
    quality: FaceQuality
    crop: FaceCrop
    vectors: Mapping[str, Vector]
    """By the names of the models that were asked for."""
    decode_s: float = 0.0
    infer_s: float = 0.0

    def to_message(self) -> faces_pb2.Face:
        """Without its vectors."""
        return face_to_message(self.face, self.quality)

    def seen_by(self, model: str) -> SeenFace:
        """As one of the models sees it."""
        return SeenFace(self.face, self.quality, self.vectors[model], self.crop)


class FaceSources:
    """Reads sources."""

    def __init__(self, looker: FaceLooker, open_tokens: OpenTokens) -> None:
        self._looker = looker
        self._open_tokens = open_tokens

    async def read(
        self,
        source: faces_pb2.FaceSource,
        runners: Sequence[ModelRunner],
        field: str,
        gallery_id: str | None = None,
    ) -> SourceFace:
        """The face, as a vector of each model; the first of `runners` finds it.

        Args:
            source: what the client sent.
            runners: at least one.
            field: its name in the request, for messages.
            gallery_id: the gallery that a token must be of; None: any.

        Raises:
            UnusableSource: no face, none at the box, or several.
            ServiceError: INVALID_ARGUMENT: undecodable, too large, a box outside the picture, a
                token that is not ours; UNAVAILABLE: a token while the database is away.
        """
        if source.WhichOneof("source") == "image":
            return await self._from_picture(source, runners, field)
        return await self._from_token(source.face_token, runners, field, gallery_id)

    async def read_or_refuse(
        self,
        source: faces_pb2.FaceSource,
        runners: Sequence[ModelRunner],
        field: str,
        gallery_id: str | None = None,
    ) -> SourceFace:
        """The same, where an unusable picture is the request's fault: INVALID_ARGUMENT."""
        try:
            return await self.read(source, runners, field, gallery_id)
        except UnusableSource as unusable:
            raise unusable.to_error(field) from unusable

    async def _from_picture(
        self, source: faces_pb2.FaceSource, runners: Sequence[ModelRunner], field: str
    ) -> SourceFace:
        begun_s = time.monotonic()
        image = await self._looker.decode(source.image, f"{field}.image")
        decode_s = time.monotonic() - begun_s
        looked = await runners[0].find(image)
        face = _the_one(looked.faces, source, image, field)
        vectors, embed_s = await _embedded(runners, image, face)
        quality = await self._looker.judge(image, face)
        crop = await self._looker.off_loop(cut_crop, image, face.landmarks_xy)
        return SourceFace(face, quality, crop, vectors, decode_s, looked.infer_s + embed_s)

    async def vectors(
        self, seen: SeenFace, made_by: ModelKey, runners: Sequence[ModelRunner]
    ) -> tuple[dict[str, Vector], float]:
        """A face as each model sees it, from its crop but for the model that made its vector.

        Also the seconds that took.

        Raises:
            ServiceError: as `ModelRunner.embed`.
        """
        known = [runner for runner in runners if key_of_runner(runner) == made_by]
        others = [runner for runner in runners if key_of_runner(runner) != made_by]
        found = {runner.model.info.name: seen.vector for runner in known}
        if not others:
            return found, 0.0
        crop = await self._looker.off_loop(read_crop, seen.crop.jpeg)
        inside = DetectedFace(seen.face.box_xyxy, seen.face.score, seen.crop.landmarks_xy)
        more, seconds = await _embedded(others, crop, inside)
        return {**found, **more}, seconds

    async def _from_token(
        self, token: bytes, runners: Sequence[ModelRunner], field: str, gallery_id: str | None
    ) -> SourceFace:
        tokens = await self._open_tokens()
        found = tokens.read(token, f"{field}.face_token", gallery_id)
        seen = found.seen
        made_by = ModelKey(found.model, found.revision, len(seen.vector))
        vectors, embed_s = await self.vectors(seen, made_by, runners)
        return SourceFace(seen.face, seen.quality, seen.crop, vectors, infer_s=embed_s)


async def _embedded(
    runners: Sequence[ModelRunner], image: Image, face: DetectedFace
) -> tuple[dict[str, Vector], float]:
    vectors, seconds = {}, 0.0
    for runner in runners:
        [one] = await runner.embed(image, [face])
        vectors[runner.model.info.name] = one.vector
        seconds += one.infer_s
    return vectors, seconds


def _the_one(
    faces: list[DetectedFace], source: faces_pb2.FaceSource, image: Image, field: str
) -> DetectedFace:
    """By the box if there is one, else the largest or the only one."""
    if source.HasField("box"):
        return _at_box(faces, source, image, field)
    if not faces:
        problem = faces_pb2.FACE_PROBLEM_NO_FACE
        raise UnusableSource(problem, "expected a face, found none")
    if len(faces) > 1 and source.choice == faces_pb2.FACE_CHOICE_ONLY:
        several = faces_pb2.FACE_PROBLEM_SEVERAL_FACES
        raise UnusableSource(several, f"expected one face, found {len(faces)}")
    return faces[0]


def _at_box(
    faces: list[DetectedFace], source: faces_pb2.FaceSource, image: Image, field: str
) -> DetectedFace:
    box = np.array(check_box(source.box, image.shape[0], image.shape[1], f"{field}.box"))
    shared = [float(overlaps(box, np.array([face.box_xyxy]))[0][0]) for face in faces]
    if not shared or max(shared) < _LEAST_OVERLAP:
        problem = faces_pb2.FACE_PROBLEM_NO_FACE_AT_BOX
        raise UnusableSource(problem, "expected a face at the box, found none")
    return faces[int(np.argmax(shared))]
