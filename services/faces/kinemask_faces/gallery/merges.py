"""People who became one, and back. Every function runs in the caller's transaction.

Nothing moves in a merge: samples and rejections stay with whoever they were made for, and every
person only says whose part they are now (`root_key`). So an unmerge has nothing to guess.

Invariant: merges that concern one person are undone last first.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one
from psycopg.rows import DictRow

from kinemask_faces.gallery import galleries, people
from kinemask_faces.gallery.pages import Question, limit
from kinemask_faces.gallery.records import Merge, Page, PageQuery, Person

_MERGE = (
    "SELECT m.*, p.person_id, ARRAY(SELECT o.person_id FROM faces.people o "
    "WHERE o.person_key = ANY(m.merged_keys) "
    "ORDER BY array_position(m.merged_keys, o.person_key)) AS merged_ids "
    "FROM faces.merges m LEFT JOIN faces.people p USING (person_key) "
)


async def merge(
    connection: Connection, gallery_id: str, person_id: str, merged_person_ids: Sequence[str]
) -> tuple[Person, Merge]:
    """Make one of several; `person_id` stays.

    Raises:
        ServiceError: NOT_FOUND; INVALID_ARGUMENT: somebody is named twice, or nobody.
    """
    everybody = [person_id, *merged_person_ids]
    if len(set(everybody)) != len(everybody) or len(everybody) < 2:
        what = f"expected other people than {person_id}, each once, got {merged_person_ids}"
        raise errors.invalid("merged_person_ids", what)
    gallery_key = await galleries.lock(connection, gallery_id)
    rows = await people.lock(connection, gallery_key, everybody, alone=True)
    stays, *others = (people.standing(gallery_id, one, rows.get(one)) for one in everybody)
    merge_key = await _note(connection, stays, [row["person_key"] for row in others])
    await people.touch(connection, [stays["person_key"]])
    row = await one(connection, _MERGE + "WHERE merge_key = %s", (merge_key,))
    assert row is not None
    return await people.get(connection, gallery_id, person_id), _merge(gallery_id, row)


async def unmerge(connection: Connection, gallery_id: str, merge_id: str) -> list[Person]:
    """Everybody as they were, who had stayed first.

    Raises:
        ServiceError: NOT_FOUND; FAILED_PRECONDITION, reason ALREADY_UNDONE, LATER_MERGE (metadata
            `merge_id`: undo that first) or PERSON_DELETED.
    """
    gallery_key = await galleries.lock(connection, gallery_id)
    row = await _held(connection, gallery_id, gallery_key, merge_id)
    await _check_last(connection, row)
    await change(
        connection,
        "UPDATE faces.people p SET root_key = was.root_key, update_time = now() "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS was (person_key, root_key) "
        "WHERE p.person_key = was.person_key",
        (row["moved_keys"], row["moved_roots"]),
    )
    await change(
        connection,
        "UPDATE faces.people p SET display_name = m.display_name, folded_name = %s, "
        "metadata = m.metadata, action_kind = m.action_kind, action_target = m.action_target, "
        "action_label = m.action_label, stranger = m.stranger, update_time = now() "
        "FROM faces.merges m WHERE m.merge_key = %s AND p.person_key = m.person_key",
        (row["display_name"].casefold(), row["merge_key"]),
    )
    await change(
        connection,
        "UPDATE faces.merges SET undo_time = now() WHERE merge_key = %s",
        (row["merge_key"],),
    )
    ids = [row["person_id"], *row["merged_ids"]]
    return [await people.get(connection, gallery_id, person_id) for person_id in ids]


async def page(
    connection: Connection, gallery_id: str, include_undone: bool, query: PageQuery
) -> Page[Merge]:
    """Merges, newest first; not those of people who were deleted since.

    Raises:
        ServiceError: NOT_FOUND (gallery); INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
    """
    gallery_key = await galleries.find(connection, gallery_id)
    question = Question.of("merges", gallery_key, include_undone)
    rows = await many(
        connection,
        _MERGE + "WHERE m.gallery_key = %(gallery_key)s AND m.person_key IS NOT NULL "
        "AND (%(undone)s OR m.undo_time IS NULL) "
        "AND (%(before)s::bigint IS NULL OR m.merge_key < %(before)s) "
        "ORDER BY m.merge_key DESC LIMIT %(limit)s",
        {
            "gallery_key": gallery_key,
            "undone": include_undone,
            "before": question.after_key(query),
            "limit": limit(query),
        },
    )
    return question.page(
        query, rows, lambda row: _merge(gallery_id, row), lambda row: row["merge_key"]
    )


async def _note(connection: Connection, stays: DictRow, merged_keys: list[int]) -> int:
    """Write down how everybody is, then give those who go their new root; the merge's key."""
    moved = await many(
        connection,
        "SELECT person_key, root_key FROM faces.people WHERE root_key = ANY(%s) "
        "ORDER BY person_key FOR UPDATE",
        (merged_keys,),
    )
    moved_keys = [row["person_key"] for row in moved]
    row = await one(
        connection,
        "INSERT INTO faces.merges (merge_id, gallery_key, person_key, merged_keys, moved_keys, "
        "moved_roots, display_name, metadata, action_kind, action_target, action_label, stranger) "
        "SELECT %s, gallery_key, person_key, %s, %s, %s, display_name, metadata, action_kind, "
        "action_target, action_label, stranger FROM faces.people WHERE person_key = %s "
        "RETURNING merge_key",
        (
            f"merge-{uuid.uuid4().hex}",
            *(merged_keys, moved_keys, [row["root_key"] for row in moved]),
            stays["person_key"],
        ),
    )
    assert row is not None
    await change(
        connection,
        "UPDATE faces.people SET root_key = %s WHERE person_key = ANY(%s)",
        (stays["person_key"], moved_keys),
    )
    return int(row["merge_key"])


async def _held(
    connection: Connection, gallery_id: str, gallery_key: int, merge_id: str
) -> DictRow:
    """The merge, with who stayed held."""
    query = _MERGE + "WHERE m.gallery_key = %s AND m.merge_id = %s"
    row = await one(connection, query, (gallery_key, merge_id))
    if row is not None and row["person_id"] is not None:
        await people.lock(connection, gallery_key, [row["person_id"]], alone=True)
        row = await one(connection, query, (gallery_key, merge_id))
    if row is None:
        what = f"there is no merge {merge_id} in gallery {gallery_id}"
        raise errors.not_found(what, merge_id=merge_id)
    if row["person_id"] is None:
        what = f"the person of merge {merge_id} was deleted"
        raise errors.failed_precondition(what, reason="PERSON_DELETED")
    if row["undo_time"] is not None:
        what = f"merge {merge_id} is undone already"
        raise errors.failed_precondition(what, reason="ALREADY_UNDONE")
    return row


async def _check_last(connection: Connection, row: DictRow) -> None:
    later = await one(
        connection,
        "SELECT merge_id FROM faces.merges WHERE merge_key > %(merge)s AND undo_time IS NULL "
        "AND (person_key = %(person)s OR %(person)s = ANY(merged_keys)) "
        "AND gallery_key = %(gallery)s ORDER BY merge_key DESC LIMIT 1",
        {
            "merge": row["merge_key"],
            "person": row["person_key"],
            "gallery": row["gallery_key"],
        },
    )
    if later is not None:
        raise errors.failed_precondition(
            f"merge {later['merge_id']} stands on {row['merge_id']}: undo that first",
            reason="LATER_MERGE",
            merge_id=later["merge_id"],
        )


def _merge(gallery_id: str, row: DictRow) -> Merge:
    return Merge(
        merge_id=row["merge_id"],
        gallery_id=gallery_id,
        person_id=row["person_id"],
        merged_person_ids=tuple(row["merged_ids"]),
        create_time=row["create_time"],
        undo_time=row["undo_time"],
    )
