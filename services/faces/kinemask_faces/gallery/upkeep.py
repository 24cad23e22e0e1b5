"""What is done in the background: indexes built, forgotten tables dropped, recall sampled.

Every replica does it; an advisory lock lets one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
import structlog
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import change, many, one
from kinemask_chassis.errors import ServiceError
from psycopg import sql

from kinemask_faces.gallery import answers, searching, spaces
from kinemask_faces.gallery.searching import SearchRules
from kinemask_faces.gallery.spaces import Space
from kinemask_faces.runner import Vector

# Malkov and Yashunin's M and efConstruction; with the defaults one best match in seven is missed.
HNSW_M = 24
HNSW_EF_CONSTRUCTION = 200

_LOCK = 0x4B4D_0005  # any number, of this use alone
_BYTES_A_NUMBER = 2
_NOTHING_REJECTED = SearchRules(very_like=2.0, count=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UpkeepOptions:
    """When what is done."""

    every_s: float = 30.0
    """Seconds between two rounds."""
    index_from_samples: int = 50_000
    """A gallery of more samples gets an index; up to then an exact search is fast enough."""
    recall_share: float = 0.01
    """Share of the searches by an index that are repeated exactly, to see what it misses: 0..1."""
    index_memory_mb: int = 512
    """Memory that building an index may take."""
    index_workers: int = 1
    """Processes that help to build an index."""


class SearchObserver(Protocol):
    """Who counts how good searches by an index are."""

    def recall_sampled(self, hits: int, faces: int) -> None:
        """Of so many faces, so many had the same best match by the index as exactly."""
        ...


class Upkeep:
    """The background work of one replica."""

    def __init__(
        self, database: Database, options: UpkeepOptions, observer: SearchObserver | None
    ) -> None:
        self._database, self._options, self._observer = database, options, observer
        self._rounds: asyncio.Task[None] | None = None
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._rounds = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End; an index that is being built is given up. Idempotent."""
        for task in (self._rounds, self._sampling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def once(self) -> bool:
        """One round; False if another replica is at it.

        Raises:
            ServiceError: UNAVAILABLE.
            psycopg.Error: it cannot be done.
        """
        async with _alone(self._database) as connection:
            if connection is None:
                return False
            await answers.forget_old(connection)
            await _drop_forgotten(connection)
            for space in await spaces.everywhere(connection):
                if not space.indexed and await self._is_large(connection, space):
                    await self._build(connection, space)
        return True

    def sample_recall(self, space: Space, vectors: Sequence[Vector]) -> None:
        """Now and then compare what the index finds with what there is, in the background."""
        busy = self._sampling is not None and not self._sampling.done()
        # Not a secret: any generator will do.
        if self._observer is None or busy or random.random() >= self._options.recall_share:
            return
        self._sampling = asyncio.create_task(self._sample(self._observer, space, vectors[:1]))

    async def _sample(
        self, observer: SearchObserver, space: Space, vectors: Sequence[Vector]
    ) -> None:
        try:
            hits = await recall_hits(self._database, space, vectors)
        except (ServiceError, psycopg.Error) as error:
            _log.info("recall_not_sampled", why=str(error))
        else:
            observer.recall_sampled(hits, len(vectors))

    async def _run(self) -> None:
        while True:
            try:
                await self.once()
            except (ServiceError, psycopg.Error) as error:
                _log.warning("gallery_upkeep_failed", why=str(error))
            await asyncio.sleep(self._options.every_s)

    async def _is_large(self, connection: Connection, space: Space) -> bool:
        """True with enough vectors for an index; a small table is not even counted."""
        least = self._options.index_from_samples
        row = await one(
            connection,
            sql.SQL(
                "SELECT CASE WHEN pg_relation_size({name}::regclass) < %s THEN false "
                "ELSE (SELECT count(*) > %s FROM {table}) END AS large"
            ).format(name=sql.Literal(space.table.as_string()), table=space.table),
            (least * space.model.dimensions * _BYTES_A_NUMBER, least),
        )
        return row is not None and bool(row["large"])

    async def _build(self, connection: Connection, space: Space) -> None:
        """Concurrently: samples come and go, and are searched exactly, meanwhile."""
        _log.info("gallery_index_begun", space=space.space_key)
        # What a build that was cut short left behind is of no use.
        drop = sql.SQL("DROP INDEX IF EXISTS faces.{}").format(space.index)
        await connection.execute(drop)
        await connection.execute(
            "SELECT set_config('maintenance_work_mem', %s, false), "
            "set_config('max_parallel_maintenance_workers', %s, false)",
            (f"{self._options.index_memory_mb}MB", str(self._options.index_workers)),
        )
        await connection.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON {} USING hnsw (embedding halfvec_ip_ops) "
                "WITH (m = {}, ef_construction = {})"
            ).format(
                space.index,
                space.table,
                sql.Literal(HNSW_M),
                sql.Literal(HNSW_EF_CONSTRUCTION),
            )
        )
        await change(
            connection,
            "UPDATE faces.spaces SET indexed = true WHERE space_key = %s",
            (space.space_key,),
        )
        _log.info("gallery_index_done", space=space.space_key)


async def recall_hits(database: Database, space: Space, vectors: Sequence[Vector]) -> int:
    """How many faces have the same best match by the index as exactly, or one as good."""
    async with database.connection() as connection:
        truly = await searching.search(connection, space, vectors, _NOTHING_REJECTED, exact=True)
        found = await searching.search(connection, space, vectors, _NOTHING_REJECTED)
    return sum(
        not truth or (bool(guess) and guess[0].similarity >= truth[0].similarity - 1e-6)
        for truth, guess in zip(truly, found, strict=True)
    )


@contextlib.asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[Connection | None]:
    """A connection of its own without a transaction; None if somebody else is at it.

    Not of the pool: building an index takes minutes, and its settings are not for others.
    """
    connection = await database.connect_alone()
    try:
        row = await one(connection, "SELECT pg_try_advisory_lock(%s) AS mine", (_LOCK,))
        yield connection if row is not None and row["mine"] else None
    finally:
        await connection.close()


async def _drop_forgotten(connection: Connection) -> None:
    """Drop the tables of spaces that are no more. Their rows went with the space."""
    tables = await many(
        connection,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'faces' "
        "AND tablename ~ '^vectors_[0-9]+$'",
    )
    # After the tables: whatever has been made since is not among those.
    known = {space.space_key for space in await spaces.everywhere(connection)}
    for name in (str(row["tablename"]) for row in tables):
        if int(name.removeprefix("vectors_")) not in known:
            drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("faces", name))
            await connection.execute(drop)
