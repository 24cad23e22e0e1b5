"""Galleries as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

import uuid
from typing import LiteralString

import grpc
from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one
from psycopg.rows import DictRow

from kinemask_faces.gallery import answers, removal, spaces
from kinemask_faces.gallery.pages import Question, limit
from kinemask_faces.gallery.records import (
    Gallery,
    GalleryChanges,
    GalleryModel,
    NewGallery,
    Page,
    PageQuery,
    Removed,
)
from kinemask_faces.gallery.texts import storable


async def create(connection: Connection, new: NewGallery) -> Gallery:
    """Make a gallery.

    Raises:
        ServiceError: ALREADY_EXISTS.
    """
    gallery_id = new.gallery_id or f"gallery-{uuid.uuid4().hex}"
    row = await one(
        connection,
        "INSERT INTO faces.galleries (gallery_id, display_name, metadata, default_model, owner_id) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING gallery_key",
        (
            gallery_id,
            storable("display_name", new.display_name or gallery_id),
            new.metadata_json,
            new.model.name,
            new.owner_id,
        ),
    )
    if row is None:
        taken = f"there is a gallery {gallery_id} already"
        raise errors.ServiceError(grpc.StatusCode.ALREADY_EXISTS, taken, reason="ALREADY_EXISTS")
    await spaces.add(connection, row["gallery_key"], new.model, complete=True)
    return await get(connection, gallery_id)


async def lock(connection: Connection, gallery_id: str, *, alone: bool = False) -> int:
    """The gallery's key; it stays until the transaction ends, and nobody else changes its models.

    With `alone` nobody else changes anything in it meanwhile.

    Raises:
        ServiceError: NOT_FOUND.
    """
    return await _key(connection, gallery_id, "FOR UPDATE" if alone else "FOR KEY SHARE")


async def find(connection: Connection, gallery_id: str) -> int:
    """The gallery's key, for reading only.

    Raises:
        ServiceError: NOT_FOUND.
    """
    return await _key(connection, gallery_id, "")


async def _key(connection: Connection, gallery_id: str, strength: LiteralString) -> int:
    query = "SELECT gallery_key FROM faces.galleries WHERE gallery_id = %s "
    row = await one(connection, query + strength, (gallery_id,))
    if row is None:
        raise spaces.no_gallery(gallery_id)
    return int(row["gallery_key"])


async def get(connection: Connection, gallery_id: str) -> Gallery:
    """One gallery.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = await one(
        connection, "SELECT * FROM faces.galleries WHERE gallery_id = %s", (gallery_id,)
    )
    if row is None:
        raise spaces.no_gallery(gallery_id)
    return await _gallery(connection, row)


async def models(connection: Connection, gallery_id: str) -> tuple[GalleryModel, ...]:
    """The models that new samples need a vector of, the default first; counts are left at 0.

    Raises:
        ServiceError: NOT_FOUND.
    """
    found = await spaces.of_gallery(connection, await find(connection, gallery_id))
    return tuple(GalleryModel(space.model, 0, space.method, space.complete) for space in found)


async def page(connection: Connection, owner_id: str, query: PageQuery) -> Page[Gallery]:
    """An owner's galleries, by id.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    question = Question.of("galleries", owner_id)
    after = storable("page_token", question.after(query) or "")
    rows = await many(
        connection,
        "SELECT * FROM faces.galleries WHERE owner_id = %s AND gallery_id > %s "
        "ORDER BY gallery_id LIMIT %s",
        (owner_id, after, limit(query)),
    )
    found = [await _gallery(connection, row) for row in rows]
    return question.page(query, found, lambda one: one, lambda one: one.gallery_id)


async def update(connection: Connection, gallery_id: str, changes: GalleryChanges) -> Gallery:
    """Change what is not None.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMBEDDED, for the default model.
    """
    gallery_key = await lock(connection, gallery_id, alone=True)
    if changes.default_model is not None:
        await _check_searched(connection, gallery_id, gallery_key, changes.default_model)
    if changes.display_name is not None:
        storable("display_name", changes.display_name)
    await change(
        connection,
        "UPDATE faces.galleries SET display_name = COALESCE(%s, display_name), "
        "metadata = COALESCE(%s, metadata), default_model = COALESCE(%s, default_model), "
        "update_time = now() WHERE gallery_key = %s",
        (changes.display_name, changes.metadata_json, changes.default_model, gallery_key),
    )
    return await get(connection, gallery_id)


async def delete(connection: Connection, gallery_id: str, force: bool) -> Removed:
    """Remove it with all that is in it.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMPTY: people and no `force`.
    """
    gallery_key = await lock(connection, gallery_id, alone=True)
    removed = await removal.count(connection, gallery_key)
    if removed.person_count and not force:
        raise errors.failed_precondition(
            f"gallery {gallery_id} has {removed.person_count} people; set force to remove them too",
            reason="NOT_EMPTY",
        )
    for space in await spaces.of_gallery(connection, gallery_key):
        await spaces.forget(connection, space)
    await answers.redact_gallery(connection, gallery_id, itself=True)
    await change(connection, "DELETE FROM faces.galleries WHERE gallery_key = %s", (gallery_key,))
    return removed


async def clear(connection: Connection, gallery_id: str, only_strangers: bool) -> Removed:
    """Remove all, or the strangers, that are in it.

    Raises:
        ServiceError: NOT_FOUND.
    """
    gallery_key = await lock(connection, gallery_id, alone=True)
    roots = await many(
        connection,
        "SELECT person_key FROM faces.people WHERE gallery_key = %s AND root_key = person_key "
        "AND (stranger OR NOT %s)",
        (gallery_key, only_strangers),
    )
    place = removal.Place(gallery_id, gallery_key)
    removed = await removal.remove_people(connection, place, [row["person_key"] for row in roots])
    if not only_strangers:
        # Those that were stripped when their people were deleted earlier.
        await change(connection, "DELETE FROM faces.merges WHERE gallery_key = %s", (gallery_key,))
        await answers.redact_gallery(connection, gallery_id, itself=False)
    return removed


async def drop_other_models(connection: Connection, gallery_id: str, keep: str) -> None:
    """Remove the vectors of every model but one, which becomes the default.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason NOT_EMBEDDED.
    """
    await update(connection, gallery_id, GalleryChanges(default_model=keep))
    gallery_key = await lock(connection, gallery_id, alone=True)
    for space in await spaces.of_gallery(connection, gallery_key):
        if space.model.name != keep:
            await spaces.forget(connection, space)


async def _check_searched(
    connection: Connection, gallery_id: str, gallery_key: int, model: str
) -> None:
    found = await spaces.of_gallery(connection, gallery_key)
    if not any(space.model.name == model and space.complete for space in found):
        raise spaces.not_embedded(gallery_id, model, f"it is not embedded for {model}")


async def _gallery(connection: Connection, row: DictRow) -> Gallery:
    gallery_key = row["gallery_key"]
    here = await removal.count(connection, gallery_key)
    latest = await one(
        connection,
        "SELECT max(update_time) AS latest FROM faces.people WHERE gallery_key = %s",
        (gallery_key,),
    )
    found = [
        GalleryModel(
            space.model, await spaces.count(connection, space), space.method, space.complete
        )
        for space in await spaces.of_gallery(connection, gallery_key)
    ]
    return Gallery(
        gallery_id=row["gallery_id"],
        display_name=row["display_name"],
        metadata_json=row["metadata"],
        default_model=row["default_model"],
        models=tuple(found),
        person_count=here.person_count,
        sample_count=here.sample_count,
        owner_id=row["owner_id"],
        create_time=row["create_time"],
        update_time=max(
            row["update_time"], (latest or {"latest": None})["latest"] or row["update_time"]
        ),
    )
