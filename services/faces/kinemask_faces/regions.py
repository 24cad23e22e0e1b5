"""Which of the faces in a picture belongs to which region of the client's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import check_box

from kinemask_faces.engines.base import DetectedFace

BoxXyxy = tuple[float, float, float, float]

_LEAST_SHARED = 0.4
# A head is at the top of a body, standing or sitting.
_HEAD_SHARE = 0.6


@dataclass(frozen=True)
class Region:
    """A track on one frame."""

    track_id: int
    box_xyxy: BoxXyxy
    is_person: bool = False
    """True: the face is to be found in it; False: it is the face."""


def regions_of(frame: faces_pb2.RecogniseFrame, size: tuple[int, int]) -> list[Region]:
    """A frame's regions; `size` is its height and width.

    Raises:
        ServiceError: INVALID_ARGUMENT: a track twice, or a box that is none or outside.
    """
    ids = [region.track_id for region in frame.regions]
    if len(set(ids)) < len(ids):
        raise errors.invalid("frame.regions", "expected each track once, got one twice")
    return [
        Region(
            region.track_id,
            check_box(region.box, *size, f"frame.regions[{index}].box"),
            is_person=region.kind == faces_pb2.REGION_KIND_PERSON,
        )
        for index, region in enumerate(frame.regions)
    ]


def faces_of_regions(
    faces: Sequence[DetectedFace], regions: Sequence[Region]
) -> dict[int, DetectedFace]:
    """By track: at most one face for a region, and for a face one region of each kind.

    The best fits come first; a face and the person whose it is may both be tracks.
    """
    fits = sorted(
        (
            (fit, region.track_id, index, region.is_person)
            for region in regions
            for index, face in enumerate(faces)
            if (fit := _fit(face.box_xyxy, region)) > 0
        ),
        reverse=True,
    )
    found: dict[int, DetectedFace] = {}
    taken: set[tuple[int, bool]] = set()
    for _, track_id, index, is_person in fits:
        if track_id not in found and (index, is_person) not in taken:
            found[track_id] = faces[index]
            taken.add((index, is_person))
    return found


def _fit(face: BoxXyxy, region: Region) -> float:
    """How well a face fits a region: 0 if it does not."""
    left, top, right, bottom = region.box_xyxy
    width = min(face[2], right) - max(face[0], left)
    height = min(face[3], bottom) - max(face[1], top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    if region.is_person:
        return _fit_of_head(face, region.box_xyxy, shared / _area(face))
    # A mask's box may be larger than the face, with hair and neck, or cut off.
    inside = shared / min(_area(face), _area(region.box_xyxy))
    union = shared / (_area(face) + _area(region.box_xyxy) - shared)
    return inside * union if inside >= _LEAST_SHARED and union >= _LEAST_SHARED / 4 else 0.0


def _fit_of_head(face: BoxXyxy, person: BoxXyxy, inside: float) -> float:
    middle_y = (face[1] + face[3]) / 2
    head_ends = person[1] + _HEAD_SHARE * (person[3] - person[1])
    if inside < 1 - _LEAST_SHARED or middle_y > head_ends:
        return 0.0
    # Of two people in front of one another, a face is of the one whose middle it is nearer to.
    aside = abs((face[0] + face[2]) / 2 - (person[0] + person[2]) / 2)
    return inside / (1 + aside / max(person[2] - person[0], 1.0))


def _area(box: BoxXyxy) -> float:
    return max((box[2] - box[0]) * (box[3] - box[1]), 1e-9)
