"""People as rows of Postgres. Every function runs in the caller's transaction.

NOT_FOUND for somebody who was merged names who they live on in: metadata `merged_into`.
"""

from __future__ import annotations

from kinemask_chassis.database import Connection

from kinemask_faces.gallery.records import (
    NewPerson,
    Page,
    PageQuery,
    PeopleFilter,
    Person,
    PersonChanges,
    Removed,
)


async def create(connection: Connection, gallery_id: str, new: NewPerson) -> Person:
    """Make a person. An id is never given twice, also not after its person was deleted.

    Raises:
        ServiceError: NOT_FOUND (gallery), ALREADY_EXISTS.
    """
    raise NotImplementedError


async def get(connection: Connection, gallery_id: str, person_id: str) -> Person:
    """One person.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError


async def page(
    connection: Connection, gallery_id: str, wanted: PeopleFilter, query: PageQuery
) -> Page[Person]:
    """People by display name, then id; those merged into others are left out.

    Raises:
        ServiceError: NOT_FOUND (gallery); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    raise NotImplementedError


async def update(
    connection: Connection, gallery_id: str, person_id: str, changes: PersonChanges
) -> Person:
    """Change what is not None.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError


async def delete(connection: Connection, gallery_id: str, person_id: str) -> Removed:
    """Remove a person, and whoever was merged into them, for good.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError
