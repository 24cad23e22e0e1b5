"""The way into the gallery: transactions, requests that may be repeated, searches.

A change in the servicer is:

    async def work(connection: Connection) -> Done:
        person = await people.create(connection, request.gallery_id, NewPerson(...))
        reply = CreatePersonResponse(person=...)
        return Done(reply.SerializeToString(), request.gallery_id, (person.person_id,))

    return CreatePersonResponse.FromString(await store.once(key, work))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from kinemask_chassis.database import Connection, Database

from kinemask_faces.crops import FaceCrop
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
from kinemask_faces.runner import Vector

Result = TypeVar("Result")

EmbedCrops = Callable[[Sequence[FaceCrop]], Awaitable[Sequence[Vector | None]]]
"""A vector a crop, None where the model cannot embed it."""


class GalleryStore:
    """Galleries in one database. Any number of stores, in any number of processes, may share it."""

    def __init__(self, database: Database) -> None:
        """`database` is opened and closed by the caller."""
        self._database = database

    async def open(self) -> None:
        """Bring the tables up to date, and begin to look after them in the background.

        Raises:
            ServiceError: UNAVAILABLE.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """End what runs in the background. Idempotent."""
        raise NotImplementedError

    async def secret(self, name: str) -> bytes:
        """32 random bytes, the same for every replica; made when first asked for."""
        raise NotImplementedError

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that reads.

        Raises:
            ServiceError: UNAVAILABLE, reason DATABASE_UNAVAILABLE, with RetryInfo.
        """
        raise NotImplementedError

    async def write(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do `work` in a transaction, as a whole or not at all.

        If the database goes away while it commits, this waits until it can say what became of it.
        `work` may run more than once.

        Raises:
            ServiceError: what `work` raised, then nothing is stored; or UNAVAILABLE, reason
                DATABASE_UNAVAILABLE: nothing is stored; reason COMMIT_UNKNOWN: the database did not
                come back within a minute to say.
        """
        raise NotImplementedError

    async def once(self, key: RequestKey, work: Callable[[Connection], Awaitable[Done]]) -> bytes:
        """`write`, but a request that came before within 24 hours only gets its first answer again.

        An empty `request_id` is always new.

        Raises:
            ServiceError: as `write`; INVALID_ARGUMENT, reason REQUEST_ID_REUSED: it came with
                other content; NOT_FOUND, reason DELETED_SINCE: what the answer told of was deleted.
        """
        raise NotImplementedError

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
            ServiceError: NOT_FOUND (gallery), FAILED_PRECONDITION, reason NOT_EMBEDDED, UNAVAILABLE.
        """
        raise NotImplementedError

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
        poorer one. `face.person_id` is ignored.

        Raises:
            ServiceError: as `search`, and as `samples.enrol`.
        """
        raise NotImplementedError

    def reembed(
        self, gallery_id: str, model: ModelKey, embed: EmbedCrops
    ) -> AsyncIterator[ReembedProgress]:
        """Embed every sample, and rejection, for another model from the stored crops.

        What is done stays when it is closed or fails; the next call goes on from there. After the
        last progress the model can be searched. A model of the same name with another revision is
        replaced from the beginning on.

        Raises:
            ServiceError: NOT_FOUND (gallery), ABORTED, reason REEMBEDDING, with RetryInfo: another
                call is at it; UNAVAILABLE.
        """
        raise NotImplementedError
