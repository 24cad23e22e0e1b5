"""What a gallery holds, as plain values. Ids are text of at most 200 characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Generic, TypeVar

from kinemask_faces.crops import FaceCrop
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.quality import FaceQuality
from kinemask_faces.runner import Vector

Entry = TypeVar("Entry")

Vectors = Mapping[str, Vector]
"""One face as each model sees it, by the models' names."""


@dataclass(frozen=True)
class Page(Generic[Entry]):
    """Some entries of a list."""

    entries: list[Entry]
    next_token: str
    """Of the page after; empty on the last."""


@dataclass(frozen=True)
class PageQuery:
    """Which page of a list."""

    size: int = 0
    """0: fifty."""
    token: str = ""
    """Of the page before; empty: the first page."""


class SearchMethod(Enum):
    """How vectors are searched."""

    EXACT = "EXACT"
    HNSW = "HNSW"


@dataclass(frozen=True)
class ModelKey:
    """A model whose vectors can be compared with each other."""

    name: str
    revision: str
    dimensions: int


@dataclass(frozen=True)
class GalleryModel:
    """A model that a gallery is embedded for."""

    key: ModelKey
    sample_count: int
    """Samples with a vector."""
    method: SearchMethod
    complete: bool
    """False while it is being embedded for the first time: then it is not searched."""


@dataclass(frozen=True)
class NewGallery:
    """A gallery to be made."""

    model: ModelKey
    gallery_id: str = ""
    """Empty: one is made up."""
    display_name: str = ""
    """Empty: the id."""
    metadata_json: str = "{}"
    owner_id: str = ""


@dataclass(frozen=True)
class GalleryChanges:
    """What to change; None stays."""

    display_name: str | None = None
    metadata_json: str | None = None
    default_model: str | None = None


@dataclass(frozen=True)
class Gallery:
    """A collection of people."""

    gallery_id: str
    display_name: str
    metadata_json: str
    default_model: str
    models: tuple[GalleryModel, ...]
    """The default first."""
    person_count: int
    sample_count: int
    owner_id: str
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True)
class PersonAction:
    """What to do on sight."""

    kind: str = ""
    target: str = ""
    label: str = ""


NO_ACTION = PersonAction()


@dataclass(frozen=True)
class NewPerson:
    """A person to be made."""

    display_name: str
    person_id: str = ""
    """Empty: one is made up."""
    metadata_json: str = "{}"
    action: PersonAction = NO_ACTION


@dataclass(frozen=True)
class PersonChanges:
    """What to change; None stays."""

    display_name: str | None = None
    """A stranger who gets a name is a stranger no more."""
    metadata_json: str | None = None
    action: PersonAction | None = None


@dataclass(frozen=True)
class PeopleFilter:
    """Which people a list is of."""

    name_contains: str = ""
    """Whatever the case."""
    stranger: bool | None = None
    """None: both."""


@dataclass(frozen=True)
class Person:
    """Somebody."""

    person_id: str
    gallery_id: str
    display_name: str
    metadata_json: str
    action: PersonAction
    stranger: bool
    sample_count: int
    """Those that came by a merge included."""
    merged_person_ids: tuple[str, ...]
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True)
class NewSample:
    """A face to be kept."""

    person_id: str
    face: DetectedFace
    """As it was found, in its own picture."""
    quality: FaceQuality
    crop: FaceCrop
    vectors: Vectors = field(repr=False)
    """Of every model of the gallery."""
    fingerprint: int = 0
    """`crops.difference_hash` of the crop, 0 .. 2**64 - 1."""
    source: str = ""
    display_name: str = ""
    """Of the person if they are made now. Empty: the id."""
    allow_duplicate: bool = False


@dataclass(frozen=True)
class Sample:
    """A face that is kept."""

    sample_id: str
    person_id: str
    """Whose it is now: after a merge, who stayed."""
    face: DetectedFace
    quality: FaceQuality
    source: str
    crop_jpeg: bytes
    """Empty where it was not asked for."""
    create_time: datetime


@dataclass(frozen=True)
class Duplicate:
    """The person has this very face already."""

    sample_id: str
    """The sample there is."""
    similarity: float


@dataclass(frozen=True)
class Match:
    """Somebody a face is like."""

    person_id: str
    display_name: str
    metadata_json: str
    action: PersonAction
    stranger: bool
    similarity: float
    """Of their most similar sample, -1..1."""
    sample_id: str
    """That sample."""


@dataclass(frozen=True)
class StrangerRules:
    """When an unknown face is somebody new."""

    match_threshold: float
    """From this similarity on, it is the best match, and nobody new: -1..1."""
    new_below: float
    """Below this similarity to everybody, it is somebody new: -1..1."""
    max_samples: int = 5
    """Samples kept of one stranger, best first."""


@dataclass(frozen=True)
class StrangerOutcome:
    """What became of an unknown face."""

    matches: list[Match]
    """As a search gives them; the new stranger, if one was made, at the front."""
    made: bool
    """True if a stranger was made for it."""
    sample_id: str
    """The sample that was kept of it; empty if none was."""


@dataclass(frozen=True)
class NewRejection:
    """A face that is not a certain person."""

    person_id: str
    crop: FaceCrop
    vectors: Vectors = field(repr=False)
    """Of every model of the gallery."""


@dataclass(frozen=True)
class Rejection:
    """A face that is not a certain person, as it is kept."""

    rejection_id: str
    gallery_id: str
    person_id: str
    """After a merge: who stayed."""
    crop_jpeg: bytes
    """Empty where it was not asked for."""
    create_time: datetime


@dataclass(frozen=True)
class Merge:
    """People who became one."""

    merge_id: str
    gallery_id: str
    person_id: str
    merged_person_ids: tuple[str, ...]
    create_time: datetime
    undo_time: datetime | None


@dataclass(frozen=True)
class Removed:
    """How much went."""

    person_count: int
    sample_count: int


@dataclass(frozen=True)
class RequestKey:
    """One request, for whoever sends it twice."""

    method: str
    """The request message's name."""
    request_id: str
    content_sha256: bytes
    owner_id: str = ""


@dataclass(frozen=True)
class Done:
    """What a request got for an answer, and whom the answer tells of."""

    answer: bytes
    """The serialized reply."""
    gallery_id: str = ""
    """The gallery that the reply tells of; empty if of none."""
    person_ids: tuple[str, ...] = ()
    """People whose data is in the reply: when one is deleted, so is the reply."""
    sample_ids: tuple[str, ...] = ()
    """Likewise samples."""


@dataclass(frozen=True)
class ReembedProgress:
    """How far embedding a gallery for a model is."""

    done_count: int
    total_count: int
    failed_count: int
