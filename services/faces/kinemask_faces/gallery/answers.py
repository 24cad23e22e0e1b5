"""Repeated requests: the same request id gets the first answer again, for 24 hours."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.database.sql import change, many, one

from kinemask_faces.gallery.records import Done, RequestKey


async def recall(connection: Connection, key: RequestKey) -> bytes | None:
    """The answer that this request got before, or None: then it is to be done now.

    Requests of one id wait here for each other until the transaction ends.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason REQUEST_ID_REUSED; NOT_FOUND, reason DELETED_SINCE.
    """
    if not key.request_id:
        return None
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 11))",
        (f"{key.method}\n{key.owner_id}\n{key.request_id}",),
    )
    row = await one(
        connection,
        "SELECT content_sha256, answer FROM faces.answers WHERE method = %s AND owner_id = %s "
        "AND request_id = %s AND since > now() - interval '24 hours'",
        (key.method, key.owner_id, key.request_id),
    )
    if row is None:
        return None
    if bytes(row["content_sha256"]) != key.content_sha256:
        raise errors.ServiceError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"request_id {key.request_id} came before with another content",
            reason="REQUEST_ID_REUSED",
        )
    if row["answer"] is None:
        raise errors.not_found(
            f"request {key.request_id} was done before, and what it told of was deleted since",
            reason="DELETED_SINCE",
        )
    return bytes(row["answer"])


async def remember(connection: Connection, key: RequestKey, done: Done) -> None:
    """Keep the answer; it counts if the transaction does."""
    if not key.request_id:
        return
    await change(
        connection,
        "DELETE FROM faces.answers WHERE method = %s AND owner_id = %s AND request_id = %s",
        (key.method, key.owner_id, key.request_id),
    )
    answer = done.answer if await _all_there(connection, done) else None
    row = await one(
        connection,
        "INSERT INTO faces.answers (method, owner_id, request_id, content_sha256, answer) "
        "VALUES (%s, %s, %s, %s, %s) RETURNING answer_key",
        (key.method, key.owner_id, key.request_id, key.content_sha256, answer),
    )
    assert row is not None
    if done.gallery_id:
        subjects = ["g", *_subjects(done.person_ids, done.sample_ids)]
        await change(
            connection,
            "INSERT INTO faces.answer_subjects SELECT %s, %s, unnest(%s::text[])",
            (row["answer_key"], done.gallery_id, subjects),
        )


async def redact(
    connection: Connection,
    gallery_id: str,
    person_ids: Sequence[str] = (),
    sample_ids: Sequence[str] = (),
) -> None:
    """Drop what was answered about people or samples that are deleted now."""
    await change(
        connection,
        "UPDATE faces.answers SET answer = NULL WHERE answer_key IN (SELECT answer_key "
        "FROM faces.answer_subjects WHERE gallery_id = %s AND subject = ANY(%s))",
        (gallery_id, _subjects(person_ids, sample_ids)),
    )


async def redact_gallery(connection: Connection, gallery_id: str, itself: bool) -> None:
    """Drop what was answered about anybody in a gallery, or also about the gallery itself."""
    await change(
        connection,
        "UPDATE faces.answers SET answer = NULL WHERE answer_key IN (SELECT answer_key "
        "FROM faces.answer_subjects WHERE gallery_id = %s AND (%s OR subject <> 'g'))",
        (gallery_id, itself),
    )


async def forget_old(connection: Connection) -> None:
    """Remove answers that are over their time."""
    await change(connection, "DELETE FROM faces.answers WHERE since < now() - interval '24 hours'")


async def _all_there(connection: Connection, done: Done) -> bool:
    """True if nobody was deleted since they were read; from now on they are not, until the end."""
    wanted = sorted(set(done.person_ids))
    if not done.gallery_id or not wanted:
        return True
    rows = await many(
        connection,
        "SELECT 1 FROM faces.people p JOIN faces.galleries g USING (gallery_key) "
        "WHERE g.gallery_id = %s AND p.person_id = ANY(%s) ORDER BY p.person_key "
        "FOR KEY SHARE OF p",
        (done.gallery_id, wanted),
    )
    return len(rows) == len(wanted)


def _subjects(person_ids: Sequence[str], sample_ids: Sequence[str]) -> list[str]:
    return [*(f"p{one_id}" for one_id in person_ids), *(f"s{one_id}" for one_id in sample_ids)]
