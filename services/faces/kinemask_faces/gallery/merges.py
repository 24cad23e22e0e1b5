"""People who became one, and back. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask_chassis.database import Connection

from kinemask_faces.gallery.records import Merge, Page, PageQuery, Person


async def merge(
    connection: Connection, gallery_id: str, person_id: str, merged_person_ids: Sequence[str]
) -> tuple[Person, Merge]:
    """Make one of several; `person_id` stays.

    Raises:
        ServiceError: NOT_FOUND; INVALID_ARGUMENT: somebody is named twice.
    """
    raise NotImplementedError


async def unmerge(connection: Connection, gallery_id: str, merge_id: str) -> list[Person]:
    """Everybody as they were, who had stayed first.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason ALREADY_UNDONE, LATER_MERGE (metadata
            `merge_id`: undo that first) or PERSON_DELETED.
    """
    raise NotImplementedError


async def page(
    connection: Connection, gallery_id: str, include_undone: bool, query: PageQuery
) -> Page[Merge]:
    """Merges, newest first; not those of people who were deleted since.

    Raises:
        ServiceError: NOT_FOUND (gallery); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    raise NotImplementedError
