"""Prompts, and the masks they correct, as rows of Postgres, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kinemask.v1 import segmenter_pb2
from psycopg.rows import DictRow

from kinemask_gateway.library.sql import Connection, change, many


@dataclass(frozen=True)
class PromptRecord:
    """One prompt as it was given."""

    prompt_id: int
    object_id: int
    frame_index: int
    prompt: segmenter_pb2.ObjectPrompt
    """With the object's id."""
    create_time: datetime


@dataclass(frozen=True)
class Base:
    """The mask that an object had on a frame before it was prompted there."""

    rle: bytes = b""
    """Empty: none."""
    score: float = 0.0


async def of_session(
    connection: Connection, session_id: str, frames: Iterable[int] | None = None
) -> list[PromptRecord]:
    """All, or those on some frames; by frame, then in the order they were given."""
    rows = await many(
        connection,
        "SELECT prompt_id, object_id, frame_index, prompt, create_time "
        "FROM gateway.session_prompts WHERE session_id = %(id)s "
        "AND (%(all)s OR frame_index = ANY(%(frames)s::bigint[])) "
        "ORDER BY frame_index, prompt_id",
        {"id": session_id, "all": frames is None, "frames": list(frames or ())},
    )
    return [_record(row) for row in rows]


async def page(
    connection: Connection,
    session_id: str,
    span: tuple[int, int],
    object_ids: Sequence[int],
    after: tuple[int, int],
    size: int,
) -> list[PromptRecord]:
    """Those of some frames and objects, from behind a frame and prompt on; no objects: all."""
    rows = await many(
        connection,
        "SELECT prompt_id, object_id, frame_index, prompt, create_time "
        "FROM gateway.session_prompts WHERE session_id = %(session_id)s "
        "AND frame_index BETWEEN %(first)s AND %(last)s "
        "AND (%(ids)s::int[] = '{}' OR object_id = ANY(%(ids)s::int[])) "
        "AND (frame_index, prompt_id) > (%(frame)s, %(prompt)s) "
        "ORDER BY frame_index, prompt_id LIMIT %(size)s",
        {
            "session_id": session_id,
            "first": span[0],
            "last": span[1],
            "ids": list(object_ids),
            "frame": after[0],
            "prompt": after[1],
            "size": size,
        },
    )
    return [_record(row) for row in rows]


async def frames_of(connection: Connection, session_id: str) -> dict[int, list[int]]:
    """Each prompted object's prompted frames, ascending."""
    rows = await many(
        connection,
        "SELECT DISTINCT object_id, frame_index FROM gateway.session_prompts "
        "WHERE session_id = %s ORDER BY frame_index",
        (session_id,),
    )
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["object_id"], []).append(row["frame_index"])
    return found


async def bases_of(
    connection: Connection, session_id: str, frames: Iterable[int]
) -> dict[tuple[int, int], Base]:
    """By object and frame; there is one for each prompted frame."""
    rows = await many(
        connection,
        "SELECT object_id, frame_index, rle, score FROM gateway.session_bases "
        "WHERE session_id = %s AND frame_index = ANY(%s)",
        (session_id, list(frames)),
    )
    return {
        (row["object_id"], row["frame_index"]): Base(bytes(row["rle"]), row["score"])
        for row in rows
    }


async def add(connection: Connection, session_id: str, entry: PromptRecord) -> None:
    """One prompt."""
    await change(
        connection,
        "INSERT INTO gateway.session_prompts "
        "(session_id, prompt_id, object_id, frame_index, prompt, create_time) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        session_id,
        entry.prompt_id,
        entry.object_id,
        entry.frame_index,
        entry.prompt.SerializeToString(),
        entry.create_time,
    )


async def remove(connection: Connection, session_id: str, prompt_ids: Iterable[int]) -> None:
    """Take prompts back, and the bases of frames that have none any more."""
    await change(
        connection,
        "DELETE FROM gateway.session_prompts WHERE session_id = %s AND prompt_id = ANY(%s)",
        *(session_id, list(prompt_ids)),
    )
    await change(
        connection,
        "DELETE FROM gateway.session_bases base WHERE session_id = %s AND NOT EXISTS "
        "(SELECT 1 FROM gateway.session_prompts said WHERE said.session_id = base.session_id "
        "AND said.object_id = base.object_id AND said.frame_index = base.frame_index)",
        session_id,
    )


async def keep_base(
    connection: Connection, session_id: str, object_id: int, frame_index: int, base: Base
) -> None:
    """The mask before the first prompt of an object on a frame; a later one changes nothing."""
    await change(
        connection,
        "INSERT INTO gateway.session_bases (session_id, object_id, frame_index, rle, score) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        *(session_id, object_id, frame_index, base.rle, base.score),
    )


def _record(row: DictRow) -> PromptRecord:
    prompt = segmenter_pb2.ObjectPrompt.FromString(bytes(row["prompt"]))
    return PromptRecord(**{**row, "prompt": prompt})
