"""A gallery embedded for another model, from its stored crops.

The new space is on the gallery's list from the beginning, so faces that are enrolled meanwhile get
their vectors at once; it is searched only when every sample had its turn. What is done is in its
table, so a call that is cut short is gone on with by the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg
from kinemask_chassis import errors
from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import change, many, one
from psycopg import sql
from psycopg.rows import DictRow

from kinemask_faces.crops import FaceCrop
from kinemask_faces.gallery import galleries, removal, spaces
from kinemask_faces.gallery.records import ModelKey, ReembedProgress
from kinemask_faces.gallery.spaces import Space
from kinemask_faces.gallery.stored import crop_from_columns
from kinemask_faces.runner import Vector

EmbedCrops = Callable[[Sequence[FaceCrop]], Awaitable[Sequence[Vector | None]]]
"""A vector a crop, None where the model cannot embed it."""

BATCH = 32
_LOCK = 0x4B4D_0006  # any number, of this use alone
_RETRY_AFTER_S = 10.0


async def reembed(
    database: Database, gallery_id: str, model: ModelKey, embed: EmbedCrops
) -> AsyncGenerator[ReembedProgress, None]:
    """See `GalleryStore.reembed`."""
    async with _alone(database, gallery_id):
        space = await database.write(lambda connection: _space(connection, gallery_id, model))
        work = _Reembedding(database, gallery_id, space, embed)
        yield await work.progress()
        while await work.step():
            yield await work.progress()
        while await work.step_rejections():
            pass
        await work.finish()
        yield await work.progress()


@dataclass
class _Reembedding:
    """One run over a gallery."""

    database: Database
    gallery_id: str
    space: Space
    embed: EmbedCrops
    failed: int = 0
    last_key: int = 0
    last_rejection: int = 0

    async def step(self) -> bool:
        """Embed the next samples; False if there are none."""
        async with self.database.connection() as connection:
            rows = await many(
                connection,
                sql.SQL(
                    "SELECT sample_key AS key, crop, crop_landmarks FROM faces.samples s "
                    "WHERE gallery_key = %s AND sample_key > %s AND NOT EXISTS "
                    "(SELECT 1 FROM {} v WHERE v.sample_key = s.sample_key) "
                    "ORDER BY sample_key LIMIT %s"
                ).format(self.space.table),
                (self.space.gallery_key, self.last_key, BATCH),
            )
        if not rows:
            return False
        vectors = await self._embedded(rows)
        self.failed += len(rows) - len(vectors)
        await self.database.write(lambda connection: self._store(connection, vectors))
        self.last_key = rows[-1]["key"]
        return True

    async def step_rejections(self) -> bool:
        """Embed the next rejected faces; False if there are none."""
        async with self.database.connection() as connection:
            rows = await many(
                connection,
                "SELECT rejection_key AS key, crop, crop_landmarks FROM faces.rejections r "
                "WHERE gallery_key = %s AND rejection_key > %s AND NOT EXISTS "
                "(SELECT 1 FROM faces.rejection_vectors v "
                "WHERE v.rejection_key = r.rejection_key AND v.space_key = %s) "
                "ORDER BY rejection_key LIMIT %s",
                (self.space.gallery_key, self.last_rejection, self.space.space_key, BATCH),
            )
        if not rows:
            return False
        vectors = await self._embedded(rows)
        await self.database.write(lambda connection: self._store_rejections(connection, vectors))
        self.last_rejection = rows[-1]["key"]
        return True

    async def finish(self) -> None:
        """From now on it is searched."""

        async def work(connection: Connection) -> None:
            await self._hold(connection)
            await change(
                connection,
                "UPDATE faces.spaces SET complete = true WHERE space_key = %s",
                (self.space.space_key,),
            )

        await self.database.write(work)

    async def progress(self) -> ReembedProgress:
        async with self.database.connection() as connection:
            await self._hold(connection)
            here = await removal.count(connection, self.space.gallery_key)
            done = await spaces.count(connection, self.space)
        return ReembedProgress(done, here.sample_count, self.failed)

    async def _embedded(self, rows: Sequence[DictRow]) -> dict[int, Vector]:
        """By key; those that the model cannot embed are left out."""
        crops = [crop_from_columns(row["crop"], row["crop_landmarks"]) for row in rows]
        vectors = await self.embed(crops)
        pairs = zip(rows, vectors, strict=True)
        return {row["key"]: vector for row, vector in pairs if vector is not None}

    async def _store(self, connection: Connection, vectors: dict[int, Vector]) -> None:
        """Of samples that are still there, which then stay until the vectors are stored."""
        await self._hold(connection)
        rows = await many(
            connection,
            "SELECT sample_key FROM faces.samples WHERE sample_key = ANY(%s) "
            "ORDER BY sample_key FOR KEY SHARE",
            (list(vectors),),
        )
        keys = [row["sample_key"] for row in rows]
        await spaces.put(connection, self.space, [(key, vectors[key]) for key in keys])

    async def _store_rejections(self, connection: Connection, vectors: dict[int, Vector]) -> None:
        await self._hold(connection)
        for key, vector in vectors.items():
            await change(
                connection,
                "INSERT INTO faces.rejection_vectors SELECT rejection_key, %s, %s::halfvec "
                "FROM faces.rejections WHERE rejection_key = %s FOR KEY SHARE",
                (self.space.space_key, spaces.as_halfvec(vector, self.space.model), key),
            )

    async def _hold(self, connection: Connection) -> None:
        """Keep the gallery's spaces as they are until the transaction ends.

        Raises:
            ServiceError: NOT_FOUND (gallery), ABORTED: somebody removed the model meanwhile.
        """
        gallery_key = await galleries.lock(connection, self.gallery_id)
        here = await spaces.of_gallery(connection, gallery_key)
        if all(space.space_key != self.space.space_key for space in here):
            what = f"{self.space.model.name} was removed from gallery {self.gallery_id} meanwhile"
            raise errors.aborted(what, reason="MODEL_REMOVED")


async def _space(connection: Connection, gallery_id: str, model: ModelKey) -> Space:
    """The space to fill: the one there is, or a new one."""
    gallery_key = await galleries.lock(connection, gallery_id, alone=True)
    for space in await spaces.of_gallery(connection, gallery_key):
        if space.model == model:
            return space
        if space.model.name == model.name:  # of other weights, which nobody has any more
            await spaces.forget(connection, space)
    return await spaces.add(connection, gallery_key, model, complete=False)


@contextlib.asynccontextmanager
async def _alone(database: Database, gallery_id: str) -> AsyncIterator[None]:
    """Keep others from embedding this gallery; the lock goes with its connection.

    Raises:
        ServiceError: NOT_FOUND; ABORTED, reason REEMBEDDING, with RetryInfo.
    """
    connection = await database.connect_alone()
    try:
        gallery_key = await galleries.find(connection, gallery_id)
        row = await one(
            connection,
            "SELECT pg_try_advisory_lock(%s, hashint8(%s)) AS mine",
            (_LOCK, gallery_key),
        )
        if row is None or not row["mine"]:
            busy = errors.aborted(
                f"gallery {gallery_id} is being embedded already", reason="REEMBEDDING"
            )
            busy.retry_after_s = _RETRY_AFTER_S
            raise busy
        yield
    finally:
        # Closing alone would leave it to the server when the lock goes.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.close()
