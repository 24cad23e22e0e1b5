"""Who a face is not, as rows of Postgres. Every function runs in the caller's transaction.

Kept with crop and vectors, because it is not one sample that is rejected but a face: it, and faces
very like it, are not to be matched with that person again.
"""

from __future__ import annotations

import uuid

from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one
from psycopg import sql
from psycopg.rows import DictRow

from kinemask_faces.gallery import galleries, people, removal, samples, spaces
from kinemask_faces.gallery.pages import Question, limit
from kinemask_faces.gallery.records import NewRejection, Page, PageQuery, Rejection
from kinemask_faces.gallery.samples import ModelsChangedError
from kinemask_faces.gallery.stored import crop_from_columns, landmarks_to_column


async def add(connection: Connection, gallery_id: str, new: NewRejection) -> Rejection:
    """Remember that a face is not a person.

    Raises:
        ServiceError: NOT_FOUND (gallery or person).
        ModelsChangedError: a vector of one of the gallery's models is missing.
    """
    person = await people.lock_one(connection, gallery_id, new.person_id)
    key, made = await _insert(connection, gallery_id, person, new)
    for space in await spaces.of_gallery(connection, person["gallery_key"]):
        if space.model.name not in new.vectors:
            raise ModelsChangedError(f"gallery {gallery_id} needs vectors of {space.model.name}")
        vector = spaces.as_halfvec(new.vectors[space.model.name], space.model)
        await change(
            connection,
            "INSERT INTO faces.rejection_vectors VALUES (%s, %s, %s::halfvec)",
            (key, space.space_key, vector),
        )
    return made


async def add_for_sample(
    connection: Connection, gallery_id: str, person_id: str, sample_id: str
) -> Rejection:
    """Remember that a sample's face is not a person; the sample is removed if it is theirs.

    Raises:
        ServiceError: NOT_FOUND (gallery, person or sample).
    """
    person = await people.lock_one(connection, gallery_id, person_id)
    sample = await _sample(connection, gallery_id, person["gallery_key"], sample_id)
    crop = crop_from_columns(sample["crop"], sample["crop_landmarks"])
    new = NewRejection(person_id, crop, {})
    key, made = await _insert(connection, gallery_id, person, new)
    for space in await spaces.of_gallery(connection, person["gallery_key"]):
        copy = sql.SQL(
            "INSERT INTO faces.rejection_vectors SELECT %s, %s, embedding FROM {} "
            "WHERE sample_key = %s"
        ).format(space.table)
        await change(connection, copy, (key, space.space_key, sample["sample_key"]))
    if sample["root_key"] == person["person_key"]:
        place = removal.Place(gallery_id, person["gallery_key"])
        await samples.remove(connection, place, [sample])
    return made


async def page(
    connection: Connection, gallery_id: str, person_id: str, query: PageQuery, include_crops: bool
) -> Page[Rejection]:
    """Rejections about a person, or with an empty `person_id` about all, newest first.

    Raises:
        ServiceError: NOT_FOUND (gallery or person); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    gallery_key = await galleries.find(connection, gallery_id)
    if person_id:
        await people.get(connection, gallery_id, person_id)
    question = Question.of("rejections", gallery_key, person_id)
    rows = await many(
        connection,
        "SELECT x.rejection_key, x.rejection_id, x.create_time, r.person_id, "
        "CASE WHEN %(crops)s THEN x.crop ELSE ''::bytea END AS crop FROM faces.rejections x "
        "JOIN faces.people p USING (person_key) JOIN faces.people r ON r.person_key = p.root_key "
        "WHERE x.gallery_key = %(gallery_key)s "
        "AND (%(before)s::bigint IS NULL OR x.rejection_key < %(before)s) "
        "AND (%(person_id)s = '' OR r.person_id = %(person_id)s) "
        "ORDER BY x.rejection_key DESC LIMIT %(limit)s",
        {
            "gallery_key": gallery_key,
            "person_id": person_id,
            "before": question.after_key(query),
            "crops": include_crops,
            "limit": limit(query),
        },
    )
    return question.page(
        query,
        rows,
        lambda row: _rejection(gallery_id, row["person_id"], row),
        lambda row: row["rejection_key"],
    )


async def delete(connection: Connection, gallery_id: str, rejection_id: str) -> None:
    """Forget a rejection.

    Raises:
        ServiceError: NOT_FOUND.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    gone = await change(
        connection,
        "DELETE FROM faces.rejections WHERE gallery_key = %s AND rejection_id = %s",
        (gallery_key, rejection_id),
    )
    if not gone:
        raise errors.not_found(
            f"there is no rejection {rejection_id} in gallery {gallery_id}",
            rejection_id=rejection_id,
        )


async def _insert(
    connection: Connection, gallery_id: str, person: DictRow, new: NewRejection
) -> tuple[int, Rejection]:
    """Its key, and what it is."""
    row = await one(
        connection,
        "INSERT INTO faces.rejections (rejection_id, gallery_key, person_key, crop, "
        "crop_landmarks) VALUES (%s, %s, %s, %s, %s) "
        "RETURNING rejection_key, rejection_id, create_time, ''::bytea AS crop",
        (
            f"rejection-{uuid.uuid4().hex}",
            *(person["gallery_key"], person["person_key"]),
            *(new.crop.jpeg, landmarks_to_column(new.crop)),
        ),
    )
    assert row is not None
    return row["rejection_key"], _rejection(gallery_id, new.person_id, row)


async def _sample(
    connection: Connection, gallery_id: str, gallery_key: int, sample_id: str
) -> DictRow:
    row = await one(
        connection,
        "SELECT s.*, p.root_key FROM faces.samples s JOIN faces.people p USING (person_key) "
        "WHERE s.gallery_key = %s AND s.sample_id = %s FOR UPDATE OF s",
        (gallery_key, sample_id),
    )
    if row is None:
        raise errors.not_found(
            f"there is no sample {sample_id} in gallery {gallery_id}", sample_id=sample_id
        )
    return row


def _rejection(gallery_id: str, person_id: str, row: DictRow) -> Rejection:
    return Rejection(
        rejection_id=row["rejection_id"],
        gallery_id=gallery_id,
        person_id=person_id,
        crop_jpeg=bytes(row["crop"]),
        create_time=row["create_time"],
    )
