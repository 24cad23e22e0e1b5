"""Everything that stored videos and jobs stand on, opened and closed together."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

from kinemask_chassis import errors
from kinemask_chassis.database import Database

from kinemask_gateway.jobs.queue import JobQueue, prepare
from kinemask_gateway.library.deletion import Deletion
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.settings import LibrarySettings
from kinemask_gateway.library.uploads import UploadLimits
from kinemask_gateway.storage import open_store

SCHEMA = "gateway"


class StoredParts:
    """Database, object store, library and queue of one process."""

    def __init__(self, settings: LibrarySettings) -> None:
        """Nothing is connected yet.

        Raises:
            ServiceError: INVALID_ARGUMENT: the object store's URL is none.
        """
        try:
            store = open_store(settings.object_store, settings.data_dir)
        except ValueError as error:
            raise errors.invalid("object_store", str(error)) from error
        self.database = Database(settings.database_url, settings.data_dir)
        limits = UploadLimits(max_bytes=settings.max_video_bytes, ttl_s=settings.upload_ttl_s)
        self.library = Library(self.database, store, limits, settings.max_pixels)
        self.deletion = Deletion(self.database, store)
        self.queue = JobQueue(self.database, settings.worker_stale_s)
        self.leaving = asyncio.Event()
        """Set once this process drains: who watches is to go elsewhere."""

    async def open(self) -> None:
        """Connect, and bring the tables up to date.

        Raises:
            ServiceError: UNAVAILABLE; the message says what is wrong with the database.
        """
        await self.database.open()
        await self.database.migrate(SCHEMA, _migrations())
        await prepare(self.database)

    async def close(self) -> None:
        """End threads and connections. Idempotent."""
        await self.library.close()
        await self.database.close()


def _migrations() -> Path:
    """The folder of SQL files, which is installed as files."""
    return Path(str(resources.files("kinemask_gateway"))) / "migrations"
