"""Who a face is not, as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

from kinemask_chassis.database import Connection

from kinemask_faces.gallery.records import NewRejection, Page, PageQuery, Rejection


async def add(connection: Connection, gallery_id: str, new: NewRejection) -> Rejection:
    """Remember that a face is not a person.

    Raises:
        ServiceError: NOT_FOUND (gallery or person).
        ModelsChangedError: a vector of one of the gallery's models is missing.
    """
    raise NotImplementedError


async def add_for_sample(
    connection: Connection, gallery_id: str, person_id: str, sample_id: str
) -> Rejection:
    """Remember that a sample's face is not a person; the sample is removed if it is theirs.

    Raises:
        ServiceError: NOT_FOUND (gallery, person or sample).
    """
    raise NotImplementedError


async def page(
    connection: Connection, gallery_id: str, person_id: str, query: PageQuery, include_crops: bool
) -> Page[Rejection]:
    """Rejections about a person, or with an empty `person_id` about all, newest first.

    Raises:
        ServiceError: NOT_FOUND (gallery or person); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    raise NotImplementedError


async def delete(connection: Connection, gallery_id: str, rejection_id: str) -> None:
    """Forget a rejection.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError
