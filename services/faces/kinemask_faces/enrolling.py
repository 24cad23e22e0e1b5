"""Faces to be kept: read, judged, embedded for every model of the gallery, stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from kinemask.v1 import faces_pb2
from kinemask_chassis import errors

from kinemask_faces.crops import difference_hash, read_crop
from kinemask_faces.gallery.records import Duplicate, NewSample, Sample
from kinemask_faces.gallery.samples import ModelsChangedError
from kinemask_faces.gallery_messages import sample_to_message
from kinemask_faces.messages import PROBLEMS
from kinemask_faces.parts import FaceParts
from kinemask_faces.quality import (
    MAX_PITCH_DEG,
    MAX_YAW_DEG,
    MIN_SHARPNESS,
    MIN_SIZE_PX,
    MIN_VISIBLE,
    FaceProblem,
    FaceQuality,
)
from kinemask_faces.runner import ModelRunner
from kinemask_faces.sources import SourceFace, UnusableSource

_MODEL_CHANGES = 3
"""So often a gallery may get another model while one request is embedded."""

ResultT = TypeVar("ResultT")
Read: TypeAlias = NewSample | faces_pb2.SampleRefusal
"""A face that may be stored, or why not."""


@dataclass(frozen=True)
class Asked:
    """One sample that is to be read."""

    person_id: str
    sample: faces_pb2.SampleInput
    field: str
    """Its name in the request."""
    display_name: str = ""


async def read_sample(
    parts: FaceParts, runners: Sequence[ModelRunner], gallery_id: str, asked: Asked
) -> Read:
    """One face, ready to be stored.

    Raises:
        ServiceError: an undecodable picture, a bad token, a full queue.
    """
    sample = asked.sample
    try:
        found = await parts.sources.read(sample.face, runners, f"{asked.field}.face", gallery_id)
    except UnusableSource as unusable:
        return faces_pb2.SampleRefusal(problem=unusable.problem, message=str(unusable))
    refusal = _refusal(found, sample)
    if refusal is not None:
        return refusal
    pixels = await parts.looker.off_loop(read_crop, found.crop.jpeg)
    return NewSample(
        person_id=asked.person_id,
        face=found.face,
        quality=found.quality,
        crop=found.crop,
        vectors=found.vectors,
        fingerprint=difference_hash(pixels),
        source=sample.source,
        display_name=asked.display_name,
        allow_duplicate=sample.allow_duplicate,
    )


async def with_models(
    parts: FaceParts,
    gallery_id: str,
    work: Callable[[Sequence[ModelRunner]], Awaitable[ResultT]],
) -> ResultT:
    """Do `work` with the gallery's models, again if they change meanwhile.

    Raises:
        ServiceError: as `gallery_runners`; ABORTED: they change all the time.
    """
    for _ in range(_MODEL_CHANGES):
        runners = await parts.gallery_runners(gallery_id)
        try:
            return await work(runners)
        except ModelsChangedError:
            continue
    raise errors.aborted("the gallery's models keep changing; try again", reason="MODELS_CHANGE")


def outcome_of(stored: Sample | Duplicate | errors.ServiceError) -> faces_pb2.SampleOutcome:
    """What became of a sample that the gallery was given."""
    if isinstance(stored, Sample):
        return faces_pb2.SampleOutcome(accepted=sample_to_message(stored))
    if isinstance(stored, errors.ServiceError):
        return faces_pb2.SampleOutcome(error=stored.to_status())
    message = (
        f"the person has this face already, with a similarity of {stored.similarity:.3f}; "
        "allow_duplicate stores it all the same"
    )
    refusal = faces_pb2.SampleRefusal(
        problem=faces_pb2.FACE_PROBLEM_DUPLICATE,
        message=message,
        duplicate_sample_id=stored.sample_id,
    )
    return faces_pb2.SampleOutcome(refused=refusal)


def _refusal(found: SourceFace, sample: faces_pb2.SampleInput) -> faces_pb2.SampleRefusal | None:
    """Why a face is too poor; None if it will do."""
    quality = found.quality
    if quality.problem is not None:
        return faces_pb2.SampleRefusal(
            problem=PROBLEMS[quality.problem], message=_why(quality), face=found.to_message()
        )
    if sample.HasField("min_quality") and quality.score < sample.min_quality:
        message = f"expected a quality of {sample.min_quality:g} or more, got {quality.score:.2f}"
        return faces_pb2.SampleRefusal(
            problem=_poorest(quality), message=message, face=found.to_message()
        )
    return None


def _why(quality: FaceQuality) -> str:
    """In words, with the figure and what it should have been."""
    if quality.problem is FaceProblem.TOO_SMALL:
        return f"expected {MIN_SIZE_PX:g} pixels or more, got {quality.size_px:.0f}"
    if quality.problem is FaceProblem.TOO_BLURRED:
        return f"expected a sharpness of {MIN_SHARPNESS:g} or more, got {quality.sharpness:.2f}"
    if quality.problem is FaceProblem.TURNED_AWAY:
        return (
            f"expected a turn of {MAX_YAW_DEG:g} degrees or less and a tilt of {MAX_PITCH_DEG:g} "
            f"or less, got {quality.yaw_deg:.0f} and {quality.pitch_deg:.0f}"
        )
    return f"expected {MIN_VISIBLE:.0%} of the face in the picture, got {quality.visible:.0%}"


def _poorest(quality: FaceQuality) -> faces_pb2.FaceProblem.ValueType:
    """What a score suffers from most."""
    turned = max(abs(quality.yaw_deg) / MAX_YAW_DEG, abs(quality.pitch_deg) / MAX_PITCH_DEG)
    shares = {
        faces_pb2.FACE_PROBLEM_TOO_SMALL: quality.size_px / MIN_SIZE_PX,
        faces_pb2.FACE_PROBLEM_TOO_BLURRED: quality.sharpness / MIN_SHARPNESS,
        faces_pb2.FACE_PROBLEM_TURNED_AWAY: 1 / max(turned, 1e-6),
    }
    return min(shares, key=lambda problem: shares[problem])
