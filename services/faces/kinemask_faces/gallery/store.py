"""The way into the gallery: transactions, requests that may be repeated, searches.

A change in the servicer is:

    async def work(connection: Connection) -> Done:
        person = await people.create(connection, request.gallery_id, NewPerson(...))
        reply = CreatePersonResponse(person=...)
        return Done(reply.SerializeToString(), request.gallery_id, (person.person_id,))

    return CreatePersonResponse.FromString(await store.once(key, work))
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from kinemask_chassis.database import Connection, Database
from kinemask_chassis.database.sql import change, one
from psycopg import errors as pg

from kinemask_faces.gallery import answers, searching, spaces, strangers
from kinemask_faces.gallery.records import (
    Done,
    Match,
    ModelKey,
    NewSample,
    ReembedProgress,
    RequestKey,
    StrangerOutcome,
    StrangerRules,
)
from kinemask_faces.gallery.reembedding import EmbedCrops, reembed
from kinemask_faces.gallery.searching import SearchRules
from kinemask_faces.gallery.spaces import Space
from kinemask_faces.gallery.upkeep import SearchObserver, Upkeep, UpkeepOptions
from kinemask_faces.runner import Vector

Result = TypeVar("Result")

_SCHEMA = "faces"
_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_SECRET_BYTES = 32


class GalleryStore:
    """Galleries in one database. Any number of stores, in any number of processes, may share it."""

    def __init__(
        self,
        database: Database,
        options: UpkeepOptions | None = None,
        observer: SearchObserver | None = None,
    ) -> None:
        """`database` is opened and closed by the caller."""
        self._database = database
        self._upkeep = Upkeep(database, options or UpkeepOptions(), observer)

    @property
    def upkeep(self) -> Upkeep:
        """What is done in the background."""
        return self._upkeep

    async def open(self) -> None:
        """Bring the tables up to date, and begin to look after them in the background.

        Raises:
            ServiceError: UNAVAILABLE.
        """
        await self._database.migrate(_SCHEMA, _MIGRATIONS)
        self._upkeep.start()

    async def close(self) -> None:
        """End what runs in the background. Idempotent."""
        await self._upkeep.close()

    async def secret(self, name: str) -> bytes:
        """32 random bytes, the same for every replica; made when first asked for."""

        async def work(connection: Connection) -> bytes:
            await change(
                connection,
                "INSERT INTO faces.secrets VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, secrets.token_bytes(_SECRET_BYTES)),
            )
            row = await one(connection, "SELECT value FROM faces.secrets WHERE name = %s", (name,))
            assert row is not None
            return bytes(row["value"])

        return await self.write(work)

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that reads.

        Raises:
            ServiceError: UNAVAILABLE, reason DATABASE_UNAVAILABLE, with RetryInfo.
        """
        return self._database.connection()

    async def write(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do `work` in a transaction, as a whole or not at all.

        If the database goes away while it commits, this waits until it can say what became of it.
        `work` may run more than once.

        Raises:
            ServiceError: what `work` raised, then nothing is stored; or UNAVAILABLE, reason
                DATABASE_UNAVAILABLE: nothing is stored; reason COMMIT_UNKNOWN: the database did not
                come back within a minute to say.
        """
        return await self._database.write(work)

    async def once(self, key: RequestKey, work: Callable[[Connection], Awaitable[Done]]) -> bytes:
        """`write`, but a request that came before within 24 hours only gets its first answer again.

        An empty `request_id` is always new.

        Raises:
            ServiceError: as `write`; INVALID_ARGUMENT, reason REQUEST_ID_REUSED: it came with
                other content; NOT_FOUND, reason DELETED_SINCE: what the answer told of was deleted.
        """

        async def work_once(connection: Connection) -> bytes:
            known = await answers.recall(connection, key)
            if known is not None:
                return known
            done = await work(connection)
            await answers.remember(connection, key, done)
            return done.answer

        return await self.write(work_once)

    async def recall(self, key: RequestKey) -> bytes | None:
        """The answer that a request got before: look here before work that `once` would waste.

        Raises:
            ServiceError: as `once`.
        """
        if not key.request_id:
            return None
        async with self.read() as connection:
            return await answers.recall(connection, key)

    async def search(
        self,
        gallery_id: str,
        model: ModelKey,
        vectors: Sequence[Vector],
        *,
        very_like: float,
        count: int = 2,
    ) -> list[list[Match]]:
        """For each face the `count` most similar different people, most similar first.

        A person is left out for a face that is as like, or more, to a face rejected for them as to
        any of their samples, if that similarity is at least `very_like`.

        Raises:
            ServiceError: NOT_FOUND (gallery); FAILED_PRECONDITION, reason NOT_EMBEDDED;
                UNAVAILABLE.
        """
        rules = SearchRules(very_like, count)
        try:
            space, found = await self._search(gallery_id, model, vectors, rules)
        except pg.UndefinedTable:  # the gallery, or its space, went between two of its statements
            space, found = await self._search(gallery_id, model, vectors, rules)
        if space.indexed:
            self._upkeep.sample_recall(space, vectors)
        return found

    async def _search(
        self, gallery_id: str, model: ModelKey, vectors: Sequence[Vector], rules: SearchRules
    ) -> tuple[Space, list[list[Match]]]:
        async with self.read() as connection:
            space = await spaces.to_search(connection, gallery_id, model)
            return space, await searching.search(connection, space, vectors, rules)

    async def settle_stranger(
        self,
        gallery_id: str,
        model: ModelKey,
        face: NewSample,
        rules: StrangerRules,
        *,
        very_like: float,
        count: int = 2,
    ) -> StrangerOutcome:
        """Look a face up, and enrol it as a stranger if it is nobody's; one at a time per gallery.

        So however many replicas see a new stranger at the same moment, one is made. A face of a
        known stranger is kept as a sample of theirs, until there are enough, then in the place of a
        poorer one. `face.person_id` is ignored. Within a transaction: `strangers.settle`.

        Raises:
            ServiceError: as `search`.
            ModelsChangedError: as `samples.enrol`.
        """
        search = SearchRules(very_like, count)

        async def work(connection: Connection) -> StrangerOutcome:
            return await strangers.settle(connection, gallery_id, model, face, rules, search)

        return await self.write(work)

    def reembed(
        self, gallery_id: str, model: ModelKey, embed: EmbedCrops
    ) -> AsyncGenerator[ReembedProgress, None]:
        """Embed every sample, and rejection, for another model from the stored crops.

        What is done stays when it is closed or fails; the next call goes on from there. After the
        last progress the model can be searched. A model of the same name with another revision is
        replaced from the beginning on.

        Raises:
            ServiceError: NOT_FOUND (gallery), ABORTED, reason REEMBEDDING, with RetryInfo: another
                call is at it; UNAVAILABLE.
        """
        return reembed(self._database, gallery_id, model, embed)
