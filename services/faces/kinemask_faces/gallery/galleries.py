"""Galleries as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

from kinemask_chassis.database import Connection

from kinemask_faces.gallery.records import (
    Gallery,
    GalleryChanges,
    GalleryModel,
    NewGallery,
    Page,
    PageQuery,
    Removed,
)


async def create(connection: Connection, new: NewGallery) -> Gallery:
    """Make a gallery.

    Raises:
        ServiceError: ALREADY_EXISTS.
    """
    raise NotImplementedError


async def get(connection: Connection, gallery_id: str) -> Gallery:
    """One gallery.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError


async def models(connection: Connection, gallery_id: str) -> tuple[GalleryModel, ...]:
    """The models that new samples need a vector of, the default first; counts are left at 0.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError


async def page(connection: Connection, owner_id: str, query: PageQuery) -> Page[Gallery]:
    """An owner's galleries, by id.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    raise NotImplementedError


async def update(connection: Connection, gallery_id: str, changes: GalleryChanges) -> Gallery:
    """Change what is not None.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMBEDDED, for the default model.
    """
    raise NotImplementedError


async def delete(connection: Connection, gallery_id: str, force: bool) -> Removed:
    """Remove it with all that is in it.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMPTY: people and no `force`.
    """
    raise NotImplementedError


async def clear(connection: Connection, gallery_id: str, only_strangers: bool) -> Removed:
    """Remove all, or the strangers, that are in it.

    Raises:
        ServiceError: NOT_FOUND.
    """
    raise NotImplementedError


async def drop_other_models(connection: Connection, gallery_id: str, keep: str) -> None:
    """Remove the vectors of every model but one, which becomes the default.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMBEDDED.
    """
    raise NotImplementedError
