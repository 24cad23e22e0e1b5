"""Sessions and their objects as rows of Postgres. Every function runs in the caller's transaction.

Invariant: whoever changes a session has locked its row (`get(..., lock=True)`) and raises its
revision; a propagation's writes count only while the row names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kinemask.v1 import annotations_pb2 as pb
from kinemask_chassis import errors
from psycopg.rows import DictRow

from kinemask_gateway.annotations.spans import Spans, union
from kinemask_gateway.library.sql import Connection, change, many, one

_COLUMNS = (
    "session_id, position, video_id, display_name, options, height, width, frame_count, "
    "owner_id, revision, next_object_id, next_prompt_id, propagation_id, "
    "propagation_by <> '' AND propagation_until > now() AS propagating, propagation_done, "
    "create_time, use_time"
)


@dataclass(frozen=True)
class SessionRecord:
    """One row."""

    session_id: str
    position: int
    video_id: str
    display_name: str
    options: pb.SessionOptions
    """Defaults filled in."""
    height: int
    width: int
    frame_count: int
    owner_id: str
    revision: int
    next_object_id: int
    next_prompt_id: int
    propagation_id: int
    """Of the last one."""
    propagating: bool
    propagation_done: int
    create_time: datetime
    use_time: datetime

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.height, self.width

    @property
    def last_frame(self) -> int:
        return self.frame_count - 1


@dataclass(frozen=True)
class ObjectRecord:
    """One object."""

    object_id: int
    label: str
    words: str
    color_rgb: int
    imported: bool
    """It came with the masks of a track job."""
    stale: Spans = ()


@dataclass(frozen=True)
class NewSession:
    """A session to be made."""

    session_id: str
    video_id: str
    display_name: str
    options: pb.SessionOptions
    height: int
    width: int
    frame_count: int
    next_object_id: int = 1


async def add(connection: Connection, new: NewSession) -> None:
    """A session without objects."""
    await change(
        connection,
        "INSERT INTO gateway.sessions (session_id, video_id, display_name, options, height, "
        "width, frame_count, next_object_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        new.session_id,
        new.video_id,
        new.display_name,
        new.options.SerializeToString(),
        new.height,
        new.width,
        new.frame_count,
        new.next_object_id,
    )


async def get(connection: Connection, session_id: str, *, lock: bool = False) -> SessionRecord:
    """One session; `lock` keeps others from changing it until the transaction ends.

    Raises:
        ServiceError: NOT_FOUND.
    """
    query = f"SELECT {_COLUMNS} FROM gateway.sessions WHERE session_id = %s"
    row = await one(connection, query + (" FOR UPDATE" if lock else ""), session_id)
    if row is None:
        raise no_session(session_id)
    return _record(row)


async def page(
    connection: Connection, video_id: str, before: int | None, size: int
) -> list[SessionRecord]:
    """Newest first; of one video, or for an empty id of all."""
    rows = await many(
        connection,
        f"SELECT {_COLUMNS} FROM gateway.sessions "
        "WHERE (%(video_id)s = '' OR video_id = %(video_id)s) "
        'AND (%(before)s::bigint IS NULL OR "position" < %(before)s) '
        'ORDER BY "position" DESC LIMIT %(size)s',
        {"video_id": video_id, "before": before, "size": size},
    )
    return [_record(row) for row in rows]


async def remove(connection: Connection, session_id: str) -> None:
    """Delete the row with its objects, prompts and chunks; what it stored is loose then."""
    await change(connection, "DELETE FROM gateway.sessions WHERE session_id = %s", session_id)


async def changed(connection: Connection, session: SessionRecord, *, ids: int, prompts: int) -> int:
    """Raise the revision and count on the ids that were given out; the new revision."""
    row = await one(
        connection,
        "UPDATE gateway.sessions SET revision = revision + 1, use_time = now(), "
        "next_object_id = next_object_id + %s, next_prompt_id = next_prompt_id + %s "
        "WHERE session_id = %s RETURNING revision",
        *(ids, prompts, session.session_id),
    )
    if row is None:
        raise no_session(session.session_id)
    return int(row["revision"])


async def used(connection: Connection, session_id: str) -> None:
    """Note that somebody works on it."""
    await change(
        connection,
        "UPDATE gateway.sessions SET use_time = now() WHERE session_id = %s",
        session_id,
    )


async def objects(connection: Connection, session_id: str) -> dict[int, ObjectRecord]:
    """By id, ascending."""
    rows = await many(
        connection,
        "SELECT object_id, label, words, color_rgb, imported, stale "
        "FROM gateway.session_objects WHERE session_id = %s ORDER BY object_id",
        (session_id,),
    )
    return {row["object_id"]: ObjectRecord(**{**row, "stale": _spans(row)}) for row in rows}


async def stale_of(connection: Connection, session_ids: Sequence[str]) -> Mapping[str, Spans]:
    """Frames of each session on which any object is stale."""
    rows = await many(
        connection,
        "SELECT session_id, stale FROM gateway.session_objects WHERE session_id = ANY(%s)",
        (list(session_ids),),
    )
    found: dict[str, Spans] = dict.fromkeys(session_ids, ())
    for row in rows:
        found[row["session_id"]] = union(found[row["session_id"]], _spans(row))
    return found


async def put_object(connection: Connection, session_id: str, entry: ObjectRecord) -> None:
    """Add an object, or replace what is known of it."""
    await change(
        connection,
        "INSERT INTO gateway.session_objects "
        "(session_id, object_id, label, words, color_rgb, imported, stale) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (session_id, object_id) DO UPDATE "
        "SET label = excluded.label, color_rgb = excluded.color_rgb, stale = excluded.stale",
        session_id,
        entry.object_id,
        entry.label,
        entry.words,
        entry.color_rgb,
        entry.imported,
        json.dumps(entry.stale),
    )


async def remove_object(connection: Connection, session_id: str, object_id: int) -> None:
    """Delete an object with its prompts."""
    await change(
        connection,
        "DELETE FROM gateway.session_objects WHERE session_id = %s AND object_id = %s",
        *(session_id, object_id),
    )


def below(session_id: str) -> str:
    """The prefix of everything a session has in the object store."""
    return f"sessions/{session_id}"


def no_session(session_id: str) -> errors.ServiceError:
    """NOT_FOUND."""
    return errors.not_found(
        f"there is no session {session_id}", reason="NO_SUCH_SESSION", session_id=session_id
    )


def no_object(object_id: int, known: Sequence[int]) -> errors.ServiceError:
    """NOT_FOUND."""
    told = ", ".join(map(str, sorted(known)[:50])) or "none"
    what = f"there is no object {object_id} in the session; there are: {told}"
    return errors.not_found(what, reason="NO_SUCH_OBJECT", available=told)


def check_still(session: SessionRecord) -> None:
    """Raises ServiceError FAILED_PRECONDITION while a propagation changes the session."""
    if session.propagating:
        what = f"propagation {session.propagation_id} runs on the session; wait, or cancel it"
        raise errors.failed_precondition(what, reason="PROPAGATION_RUNNING")


def _spans(row: DictRow) -> Spans:
    return tuple((int(first), int(last)) for first, last in row["stale"])


def _record(row: DictRow) -> SessionRecord:
    options = pb.SessionOptions.FromString(bytes(row["options"]))
    return SessionRecord(**{**row, "options": options})
