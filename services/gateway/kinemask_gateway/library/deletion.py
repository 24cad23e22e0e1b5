"""Taking videos out of the library, and what stands against it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kinemask_gateway.library import loose, records
from kinemask_gateway.library.facts import below
from kinemask_gateway.library.sql import Connection, Connects
from kinemask_gateway.storage import ObjectStore

ReleaseVideo = Callable[[Connection, str, bool], Awaitable[None]]
"""Called with a transaction, the video's id and `force`: ends what uses the video if it is forced,
and raises ServiceError FAILED_PRECONDITION (reason IN_USE) if not."""


class Deletion:
    """Deletes videos; whoever uses videos registers what is to happen with its uses."""

    def __init__(self, database: Connects, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._users: list[ReleaseVideo] = []

    def before_delete(self, release: ReleaseVideo) -> None:
        """Ask `release` before each deletion."""
        self._users.append(release)

    async def delete_video(self, connection: Connection, video_id: str, force: bool) -> None:
        """Remove the row; the bytes are loose from then on.

        Raises:
            ServiceError: NOT_FOUND, or FAILED_PRECONDITION (IN_USE).
        """
        await records.get(connection, video_id, lock=True)
        for release in self._users:
            await release(connection, video_id, force)
        await records.remove(connection, video_id)
        await loose.announce(connection, below(video_id))

    async def remove_objects(self, prefix: str) -> None:
        """Delete the bytes below a prefix that was announced."""
        await loose.remove(self._database, self._store, prefix)
