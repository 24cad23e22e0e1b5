"""A session's masks: chunks of frames in the object store, named by rows of Postgres.

A chunk is never changed: a new one is written under a name of its own, and the row goes over to it
in the transaction that raises the session's revision. So frames that are not written to keep their
bytes, and a process that is killed leaves the masks as they were before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kinemask_chassis import errors
from kinemask_chassis.snapshots import SnapshotError

from kinemask_gateway.annotations.records import below
from kinemask_gateway.library import loose
from kinemask_gateway.library.sql import Connection, Connects, change, many, one
from kinemask_gateway.storage import ObjectMissingError, ObjectStore
from kinemask_gateway.tracks.chunks import decode_chunk, encode_chunk
from kinemask_gateway.tracks.values import TrackedFrame, TrackedObject

FRAMES_PER_CHUNK = 64
_CHUNKS_HELD = 48
_TRIES = 5

Entries = Mapping[int, TrackedObject]
"""By object id; an entry without a mask: the object is not there."""
Changes = Mapping[int, Mapping[int, TrackedObject | None]]
"""By frame and object; None: nothing is known of the object there any more."""
ChunkFrames = Mapping[int, Entries]
"""By frame; those without entries are left out."""


@dataclass(frozen=True)
class ChunkRow:
    """Where the masks of some frames are."""

    first_frame: int
    object_key: str
    sha256: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class NewChunk:
    """A chunk that is written and not in force yet."""

    row: ChunkRow
    replaces: ChunkRow | None


async def chunk_rows(
    connection: Connection, session_id: str, numbers: Iterable[int] | None = None
) -> dict[int, ChunkRow]:
    """By the chunk's first frame, ascending; `numbers`: only those of these first frames."""
    rows = await many(
        connection,
        "SELECT first_frame, object_key, sha256, counts FROM gateway.session_chunks "
        "WHERE session_id = %(id)s "
        "AND (%(all)s OR first_frame = ANY(%(numbers)s::bigint[])) ORDER BY first_frame",
        {"id": session_id, "all": numbers is None, "numbers": list(numbers or ())},
    )
    return {row["first_frame"]: ChunkRow(**row) for row in rows}


def first_of(frame_index: int) -> int:
    """The first frame of the chunk that a frame is in."""
    return frame_index - frame_index % FRAMES_PER_CHUNK


def mask_counts(rows: Iterable[ChunkRow]) -> dict[int, int]:
    """Frames with a mask, by object."""
    found: dict[int, int] = {}
    for row in rows:
        for object_id, frames in row.counts.items():
            found[int(object_id)] = found.get(int(object_id), 0) + frames
    return found


class MaskStore:
    """Reads and writes the masks of sessions. Memory: the chunks that were used last."""

    def __init__(self, database: Connects, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._held: OrderedDict[str, ChunkFrames] = OrderedDict()

    async def frame(self, session_id: str, frame_index: int) -> Entries:
        """What is known of every object on a frame.

        Raises:
            ServiceError: DATA_LOSS, or UNAVAILABLE.
        """
        chunk = await self.chunk(session_id, first_of(frame_index))
        return chunk.get(frame_index, {})

    async def chunk(self, session_id: str, first_frame: int) -> ChunkFrames:
        """The frames of the chunk that begins with `first_frame`. Errors as `frame`."""
        for _ in range(_TRIES):
            async with self._database.connection() as connection:
                rows = await chunk_rows(connection, session_id, (first_frame,))
            if first_frame not in rows:
                return {}
            try:
                return await self.read(rows[first_frame])
            except ObjectMissingError:
                continue  # it was replaced meanwhile
        raise _damaged(f"the masks of {first_frame} and on are gone")

    async def read(self, row: ChunkRow) -> ChunkFrames:
        """A chunk.

        Raises:
            ObjectMissingError: it was replaced meanwhile.
            ServiceError: DATA_LOSS, or UNAVAILABLE.
        """
        held = self._held.get(row.object_key)
        if held is None:
            blob = await self._store.get(row.object_key)
            held = await asyncio.to_thread(_decoded, blob, row)
            self._hold(row.object_key, held)
        self._held.move_to_end(row.object_key)
        return held

    async def chunks(
        self, session_id: str, first: int, last: int
    ) -> AsyncIterator[tuple[int, Entries]]:
        """Frames from `first` to `last` that anything is known of, ascending."""
        for start in range(first_of(first), last + 1, FRAMES_PER_CHUNK):
            for frame_index, entries in (await self.chunk(session_id, start)).items():
                if first <= frame_index <= last:
                    yield frame_index, entries

    async def write(self, session_id: str, changes: Changes) -> list[NewChunk]:
        """Store the chunks as they are with some changes; `keep` puts them in force."""
        by_chunk: dict[int, dict[int, Mapping[int, TrackedObject | None]]] = {}
        for frame_index, entries in changes.items():
            by_chunk.setdefault(first_of(frame_index), {})[frame_index] = entries
        async with self._database.connection() as connection:
            rows = await chunk_rows(connection, session_id, by_chunk)
            keys = {first: _new_key(session_id, first) for first in by_chunk}
            for key in keys.values():
                await loose.announce(connection, _prefix(key))
        made: list[NewChunk] = []
        for first, changed in sorted(by_chunk.items()):
            made.append(await self._written(keys[first], first, rows.get(first), changed))
        return made

    async def keep(self, connection: Connection, session_id: str, made: Sequence[NewChunk]) -> None:
        """Put chunks in force, in the transaction that locks the session."""
        for new in made:
            row = new.row
            await change(
                connection,
                "INSERT INTO gateway.session_chunks "
                "(session_id, first_frame, object_key, sha256, counts) "
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (session_id, first_frame) DO UPDATE SET "
                "object_key = excluded.object_key, sha256 = excluded.sha256, "
                "counts = excluded.counts",
                session_id,
                row.first_frame,
                row.object_key,
                row.sha256,
                json.dumps(row.counts),
            )
            await loose.claim(connection, _prefix(row.object_key))
            if new.replaces is not None:
                await loose.announce(connection, _prefix(new.replaces.object_key))

    async def tidy(self, made: Sequence[NewChunk], *, kept: bool) -> None:
        """Remove what is not needed any more: what was replaced, or what was not kept."""
        rows = [new.replaces if kept else new.row for new in made]
        try:
            for row in rows:
                # Who is cancelled while it commits does not know: what is in force is not loose.
                if row is not None and (kept or await self._is_loose(row)):
                    self._held.pop(row.object_key, None)
                    await loose.remove(self._database, self._store, _prefix(row.object_key))
        except errors.ServiceError:
            return  # it is announced: the sweep finds it

    async def _is_loose(self, row: ChunkRow) -> bool:
        async with self._database.connection() as connection:
            prefix = _prefix(row.object_key)
            query = "SELECT 1 FROM gateway.loose_objects WHERE prefix = %s"
            return await one(connection, query, prefix) is not None

    async def _written(
        self,
        key: str,
        first: int,
        before: ChunkRow | None,
        changed: Mapping[int, Mapping[int, TrackedObject | None]],
    ) -> NewChunk:
        old = await self.read(before) if before is not None else {}
        frames, blob, counts = await asyncio.to_thread(_merged, old, changed)
        await self._store.put(key, blob)
        self._hold(key, frames)
        digest = hashlib.sha256(blob).hexdigest()
        return NewChunk(ChunkRow(first, key, digest, counts), before)

    def _hold(self, key: str, frames: ChunkFrames) -> None:
        self._held[key] = frames
        while len(self._held) > _CHUNKS_HELD:
            self._held.popitem(last=False)


def _merged(old: ChunkFrames, changed: Changes) -> tuple[ChunkFrames, bytes, dict[str, int]]:
    """The frames after the changes, as a blob too, and how many masks each object has."""
    frames = {frame_index: dict(entries) for frame_index, entries in old.items()}
    for frame_index, entries in changed.items():
        known = frames.setdefault(frame_index, {})
        for object_id, entry in entries.items():
            if entry is None:
                known.pop(object_id, None)
            else:
                known[object_id] = entry
    kept = {
        number: dict(sorted(frames[number].items())) for number in sorted(frames) if frames[number]
    }
    counts: dict[str, int] = {}
    for known in kept.values():
        for object_id, entry in known.items():
            if entry.present:
                counts[str(object_id)] = counts.get(str(object_id), 0) + 1
    blob = encode_chunk([TrackedFrame(n, 0, tuple(known.values())) for n, known in kept.items()])
    return kept, blob, counts


def _decoded(blob: bytes, row: ChunkRow) -> ChunkFrames:
    if hashlib.sha256(blob).hexdigest() != row.sha256:
        raise _damaged(f"the masks in {row.object_key} are not those that were written")
    try:
        frames = decode_chunk(blob)
    except SnapshotError as error:
        raise _damaged(str(error)) from error
    return {f.frame_index: {entry.object_id: entry for entry in f.objects} for f in frames}


def _damaged(what: str) -> errors.ServiceError:
    return errors.data_loss(what, reason="MASKS_DAMAGED")


def _new_key(session_id: str, first_frame: int) -> str:
    return f"{below(session_id)}/masks/{first_frame:09d}-{uuid.uuid4().hex}/chunk"


def _prefix(key: str) -> str:
    """What is announced of a chunk: the folder it is alone in."""
    return key.rpartition("/")[0]
