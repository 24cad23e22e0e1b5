"""People as rows of Postgres. Every function runs in the caller's transaction.

NOT_FOUND for somebody who was merged names who they live on in: metadata `merged_into`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import grpc
from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one
from psycopg.rows import DictRow

from kinemask_faces.gallery import galleries, removal
from kinemask_faces.gallery.pages import Question, bad_token, limit
from kinemask_faces.gallery.records import (
    NewPerson,
    Page,
    PageQuery,
    PeopleFilter,
    Person,
    PersonAction,
    PersonChanges,
    Removed,
)
from kinemask_faces.gallery.texts import storable

_PERSON = (
    "SELECT p.*, g.gallery_id, r.person_id AS root_id, "
    "(SELECT count(*) FROM faces.samples s JOIN faces.people m USING (person_key) "
    "WHERE m.root_key = p.person_key) AS sample_count, "
    "ARRAY(SELECT m.person_id FROM faces.people m WHERE m.root_key = p.person_key "
    "AND m.person_key <> p.person_key ORDER BY m.person_id) AS merged_ids "
    "FROM faces.people p JOIN faces.galleries g USING (gallery_key) "
    "JOIN faces.people r ON r.person_key = p.root_key "
)


async def create(
    connection: Connection, gallery_id: str, new: NewPerson, *, stranger: bool = False
) -> Person:
    """Make a person. An id is never given twice, also not after its person was deleted.

    Raises:
        ServiceError: NOT_FOUND (gallery), ALREADY_EXISTS.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    person_id = new.person_id or f"person-{uuid.uuid4().hex}"
    if not await add(connection, gallery_key, person_id, new, stranger=stranger):
        taken = f"there is a person {person_id} already in gallery {gallery_id}"
        raise errors.ServiceError(grpc.StatusCode.ALREADY_EXISTS, taken, reason="ALREADY_EXISTS")
    if await removal.is_retired(connection, gallery_key, person_id):
        raise id_retired(gallery_id, person_id)
    return await get(connection, gallery_id, person_id)


async def add(
    connection: Connection,
    gallery_key: int,
    person_id: str,
    new: NewPerson,
    *,
    stranger: bool = False,
) -> bool:
    """Put in a row, which may be of a retired id; False if the id is taken."""
    storable("display_name", new.display_name)
    row = await one(
        connection,
        "INSERT INTO faces.people (person_key, root_key, gallery_key, person_id, display_name, "
        "folded_name, metadata, action_kind, action_target, action_label, stranger) "
        "OVERRIDING SYSTEM VALUE SELECT k, k, %s, %s, %s, %s, %s, %s, %s, %s, %s "
        "FROM nextval(pg_get_serial_sequence('faces.people', 'person_key')) AS k "
        "ON CONFLICT (gallery_key, person_id) DO NOTHING RETURNING person_key",
        (
            *(gallery_key, person_id, new.display_name, new.display_name.casefold()),
            *(new.metadata_json, *_storable_action(new.action), stranger),
        ),
    )
    return row is not None


async def get(connection: Connection, gallery_id: str, person_id: str) -> Person:
    """One person.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = await one(
        connection,
        _PERSON + "WHERE g.gallery_id = %s AND p.person_id = %s",
        (gallery_id, person_id),
    )
    if row is None:
        await galleries.find(connection, gallery_id)  # that may be what is not there
        raise no_person(gallery_id, person_id)
    if row["root_id"] != person_id:
        raise no_person(gallery_id, person_id, row["root_id"])
    return _person(row)


async def lock(
    connection: Connection, gallery_key: int, person_ids: Sequence[str], *, alone: bool = False
) -> dict[str, DictRow]:
    """Rows of those who are there, with `root_id`; others wait until the transaction ends.

    With `alone`, also those wait who only want them to stay.
    """
    query = (
        "SELECT p.*, r.person_id AS root_id FROM faces.people p "
        "JOIN faces.people r ON r.person_key = p.root_key "
        "WHERE p.gallery_key = %s AND p.person_id = ANY(%s) ORDER BY p.person_key "
    )
    strength = "FOR UPDATE OF p" if alone else "FOR NO KEY UPDATE OF p"
    rows = await many(connection, query + strength, (gallery_key, sorted(set(person_ids))))
    return {row["person_id"]: row for row in rows}


async def lock_one(
    connection: Connection, gallery_id: str, person_id: str, *, alone: bool = False
) -> DictRow:
    """The row of somebody who stands for themselves.

    Raises:
        ServiceError: NOT_FOUND.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    row = (await lock(connection, gallery_key, [person_id], alone=alone)).get(person_id)
    return standing(gallery_id, person_id, row)


def standing(gallery_id: str, person_id: str, row: DictRow | None) -> DictRow:
    """The row, if somebody is there who was not merged.

    Raises:
        ServiceError: NOT_FOUND.
    """
    if row is None:
        raise no_person(gallery_id, person_id)
    if row["root_key"] != row["person_key"]:
        raise no_person(gallery_id, person_id, row["root_id"])
    return row


async def page(
    connection: Connection, gallery_id: str, wanted: PeopleFilter, query: PageQuery
) -> Page[Person]:
    """People by display name, then id; those merged into others are left out.

    Raises:
        ServiceError: NOT_FOUND (gallery); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    gallery_key = await galleries.find(connection, gallery_id)
    question = Question.of("people", gallery_key, wanted)
    name, person_id = _split(question.after(query))
    rows = await many(
        connection,
        _PERSON + "WHERE p.gallery_key = %(gallery_key)s AND p.root_key = p.person_key "
        "AND (%(stranger)s::boolean IS NULL OR p.stranger = %(stranger)s) "
        "AND position(%(part)s IN p.folded_name) > 0 "
        "AND (p.display_name, p.person_id) > (%(name)s, %(person_id)s) "
        "ORDER BY p.display_name, p.person_id LIMIT %(limit)s",
        {
            "gallery_key": gallery_key,
            "stranger": wanted.stranger,
            "part": storable("name_contains", wanted.name_contains).casefold(),
            "name": name,
            "person_id": person_id,
            "limit": limit(query),
        },
    )
    return question.page(query, rows, _person, _joined)


async def update(
    connection: Connection, gallery_id: str, person_id: str, changes: PersonChanges
) -> Person:
    """Change what is not None.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = await lock_one(connection, gallery_id, person_id)
    name = changes.display_name
    if name is None:
        name = row["display_name"]
    action = changes.action or _action(row)
    await change(
        connection,
        "UPDATE faces.people SET display_name = %s, folded_name = %s, "
        "metadata = COALESCE(%s, metadata), action_kind = %s, action_target = %s, "
        "action_label = %s, stranger = stranger AND %s, update_time = now() WHERE person_key = %s",
        (
            storable("display_name", name),
            name.casefold(),
            changes.metadata_json,
            *_storable_action(action),
            changes.display_name is None,
            row["person_key"],
        ),
    )
    return await get(connection, gallery_id, person_id)


async def delete(connection: Connection, gallery_id: str, person_id: str) -> Removed:
    """Remove a person, and whoever was merged into them, for good.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = await lock_one(connection, gallery_id, person_id, alone=True)
    place = removal.Place(gallery_id, row["gallery_key"])
    return await removal.remove_people(connection, place, [row["person_key"]])


async def touch(connection: Connection, person_keys: Sequence[int]) -> None:
    """Note that people's samples changed."""
    await change(
        connection,
        "UPDATE faces.people SET update_time = now() WHERE person_key = ANY(%s)",
        (list(person_keys),),
    )


def id_retired(gallery_id: str, person_id: str) -> errors.ServiceError:
    """ALREADY_EXISTS: it was somebody's who was deleted."""
    return errors.ServiceError(
        grpc.StatusCode.ALREADY_EXISTS,
        f"person {person_id} of gallery {gallery_id} was deleted, and ids are not given again",
        reason="ID_RETIRED",
    )


def no_person(gallery_id: str, person_id: str, merged_into: str = "") -> errors.ServiceError:
    """NOT_FOUND; the details name who a merged one lives on in."""
    ids = {"gallery_id": gallery_id, "person_id": person_id}
    if not merged_into:
        return errors.not_found(f"there is no person {person_id} in gallery {gallery_id}", **ids)
    return errors.not_found(
        f"person {person_id} was merged into {merged_into}",
        reason="MERGED",
        merged_into=merged_into,
        **ids,
    )


def _storable_action(action: PersonAction) -> tuple[str, str, str]:
    return (
        storable("action.kind", action.kind),
        storable("action.target", action.target),
        storable("action.label", action.label),
    )


def _action(row: DictRow) -> PersonAction:
    return PersonAction(row["action_kind"], row["action_target"], row["action_label"])


def _person(row: DictRow) -> Person:
    return Person(
        person_id=row["person_id"],
        gallery_id=row["gallery_id"],
        display_name=row["display_name"],
        metadata_json=row["metadata"],
        action=_action(row),
        stranger=row["stranger"],
        sample_count=row["sample_count"],
        merged_person_ids=tuple(row["merged_ids"]),
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _joined(row: DictRow) -> str:
    return f"{len(row['person_id'])}:{row['person_id']}{row['display_name']}"


def _split(place: str | None) -> tuple[str, str]:
    """Name and id of the last entry of the page before."""
    if place is None:
        return "", ""
    length, colon, rest = place.partition(":")
    if not colon or not length.isascii() or not length.isdigit() or len(length) > 3:
        raise bad_token()
    return storable("page_token", rest[int(length) :]), storable("page_token", rest[: int(length)])
