"""The galleries' database: opened when the service starts, or as soon as it can be reached."""

from __future__ import annotations

import asyncio

import structlog
from kinemask_chassis import errors
from kinemask_chassis.database import Database

from kinemask_faces.gallery.store import GalleryStore
from kinemask_faces.gallery.upkeep import SearchObserver
from kinemask_faces.tokens import FaceTokens

_RETRY_S = 2.0
_TOKEN_KEY = "face tokens"

_log = structlog.get_logger(__name__)


class GalleryAccess:
    """One store, or the reason why there is none now.

    A database that is away when the service starts does not keep it from finding faces: it is tried
    again until it is there.
    """

    def __init__(self, database: Database | None, observer: SearchObserver | None = None) -> None:
        """`database` None: this service keeps no galleries; `observer` counts what indexes miss."""
        self._database, self._observer = database, observer
        self._store: GalleryStore | None = None
        self._opening: asyncio.Task[None] | None = None
        self._tokens: FaceTokens | None = None

    @property
    def store(self) -> GalleryStore:
        """The store.

        Raises:
            ServiceError: UNAVAILABLE: the database is not there yet; FAILED_PRECONDITION, reason
                NO_GALLERIES: this service keeps none.
        """
        if self._store is not None:
            return self._store
        if self._database is None:
            raise errors.failed_precondition(
                "this faces service keeps no galleries; start it with KINEMASK_FACES_GALLERIES=on",
                reason="NO_GALLERIES",
            )
        raise errors.unavailable(
            "the database cannot be used now; try again",
            reason="DATABASE_UNAVAILABLE",
            retry_after_s=_RETRY_S,
        )

    async def open(self) -> None:
        """Connect, or go on trying in the background."""
        if self._database is None:
            return
        try:
            await self._open(self._database)
        except errors.ServiceError as error:
            _log.warning("no_galleries_yet", why=error.message)
            self._opening = asyncio.create_task(self._keep_trying(self._database))

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._store is not None:
            await self._store.close()
        if self._database is not None:
            await self._database.close()

    async def tokens(self) -> FaceTokens:
        """Face tokens under the database's key.

        Raises:
            ServiceError: UNAVAILABLE.
        """
        if self._tokens is None:
            self._tokens = FaceTokens(await self.store.secret(_TOKEN_KEY))
        return self._tokens

    async def _open(self, database: Database) -> None:
        await database.open()
        store = GalleryStore(database, observer=self._observer)
        await store.open()
        self._store = store

    async def _keep_trying(self, database: Database) -> None:
        while self._store is None:
            await asyncio.sleep(_RETRY_S)
            try:
                await self._open(database)
            except errors.ServiceError as error:
                _log.info("no_galleries_yet", why=error.message)
        _log.info("galleries_open")
