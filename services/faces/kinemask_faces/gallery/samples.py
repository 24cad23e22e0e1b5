"""Samples as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask_chassis.database import Connection
from kinemask_chassis.errors import ServiceError

from kinemask_faces.gallery.records import Duplicate, NewSample, Page, PageQuery, Sample


class ModelsChangedError(Exception):
    """A vector of one of the gallery's models is missing: ask for the models and embed again."""


async def enrol(
    connection: Connection,
    gallery_id: str,
    new: Sequence[NewSample],
    *,
    create_people: bool = False,
) -> list[Sample | Duplicate | ServiceError]:
    """Keep faces; what became of each, in order. A ServiceError stands for a NOT_FOUND person.

    Raises:
        ServiceError: NOT_FOUND (gallery).
        ModelsChangedError: see there; nothing is kept.
    """
    raise NotImplementedError


async def page(
    connection: Connection, gallery_id: str, person_id: str, query: PageQuery, include_crops: bool
) -> Page[Sample]:
    """Samples of a person, or with an empty `person_id` of all, oldest first.

    Raises:
        ServiceError: NOT_FOUND (gallery or person); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    raise NotImplementedError


async def delete(connection: Connection, gallery_id: str, sample_ids: Sequence[str]) -> int:
    """Remove samples for good, all or none; how many.

    Raises:
        ServiceError: NOT_FOUND, naming those that are not there.
    """
    raise NotImplementedError
