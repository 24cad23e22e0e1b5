"""Files on their way in: parts in the object store, how far they are in Postgres."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from kinemask_chassis import errors
from psycopg.rows import DictRow

from kinemask_gateway.library import loose
from kinemask_gateway.library.sender import LEASE_S, Sender
from kinemask_gateway.library.sql import Connection, Connects, change, many, one
from kinemask_gateway.storage import ObjectStore
from kinemask_gateway.storage.objects import disk_full

_FREE_MARGIN_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """An upload that has begun."""

    upload_id: str
    file_name: str
    size_bytes: int
    stored_bytes: int
    sha256: str
    """What was said of the whole file; empty if nothing was."""
    display_name: str
    metadata_json: str
    owner_id: str
    expire_time: datetime


@dataclass(frozen=True)
class NewUpload:
    """What a client says of a file to come."""

    file_name: str
    size_bytes: int
    sha256: str
    display_name: str
    metadata_json: str
    owner_id: str = ""


@dataclass(frozen=True)
class UploadLimits:
    """What the service takes."""

    max_bytes: int
    ttl_s: float
    """Seconds until an upload that nothing comes for is discarded."""


class Uploads:
    """All uploads.

    Invariants: the rows of `upload_parts` of an upload cover its bytes from 0 to `stored_bytes`
    without gaps, and the object of each is whole; at most one sender changes an upload at a time.
    """

    def __init__(self, database: Connects, store: ObjectStore, limits: UploadLimits) -> None:
        self._database = database
        self._store = store
        self._limits = limits

    async def start(self, connection: Connection, new: NewUpload) -> Upload:
        """Begin an upload.

        Raises:
            ServiceError: INVALID_ARGUMENT: too large; RESOURCE_EXHAUSTED (DISK_FULL).
        """
        if new.size_bytes > self._limits.max_bytes:
            what = f"expected at most {self._limits.max_bytes} bytes, got {new.size_bytes}"
            raise errors.invalid("size_bytes", what, reason="FILE_TOO_LARGE")
        free = self._store.free_bytes()
        if free is not None and new.size_bytes + _FREE_MARGIN_BYTES > free:
            raise disk_full(f"the file has {new.size_bytes} bytes, and {free} are free")
        row = await one(
            connection,
            "INSERT INTO gateway.uploads (upload_id, file_name, size_bytes, sha256, display_name, "
            "metadata, owner_id, expire_time) VALUES (%s, %s, %s, %s, %s, %s, %s, "
            "now() + make_interval(secs => %s)) RETURNING *, metadata::text AS metadata_json",
            uuid.uuid4().hex,
            new.file_name,
            new.size_bytes,
            new.sha256,
            new.display_name,
            new.metadata_json,
            new.owner_id,
            self._limits.ttl_s,
        )
        assert row is not None
        return _upload(row)

    async def get(self, upload_id: str) -> Upload:
        """How far it is.

        Raises:
            ServiceError: NOT_FOUND.
        """
        async with self._database.connection() as connection:
            row = await one(
                connection,
                "SELECT *, metadata::text AS metadata_json FROM gateway.uploads "
                "WHERE upload_id = %s AND expire_time > now()",
                upload_id,
            )
        if row is None:
            raise no_upload(upload_id)
        return _upload(row)

    @asynccontextmanager
    async def sending(self, upload_id: str) -> AsyncIterator[Sender]:
        """Be the one that sends an upload for as long as the block lasts.

        What was taken is stored at the end of the block, also when it ends by an error.

        Raises:
            ServiceError: NOT_FOUND, or ABORTED (reason UPLOAD_BUSY): somebody else sends it.
        """
        name = uuid.uuid4().hex
        await self.get(upload_id)
        async with self._database.connection() as connection:
            row = await one(
                connection,
                "UPDATE gateway.uploads SET sender = %s, "
                "sender_until = now() + make_interval(secs => %s) "
                "WHERE upload_id = %s AND (sender = '' OR sender_until < now()) "
                "RETURNING *, metadata::text AS metadata_json",
                *(name, LEASE_S, upload_id),
            )
        if row is None:
            what = "another call sends or finishes this upload; wait until it has ended"
            raise errors.aborted(what, reason="UPLOAD_BUSY")
        upload = _upload(row)
        sender = Sender(
            self._database,
            self._store,
            name=name,
            upload_id=upload_id,
            size_bytes=upload.size_bytes,
            stored_bytes=upload.stored_bytes,
            ttl_s=self._limits.ttl_s,
        )
        async with sender:
            yield sender

    async def discard(self, connection: Connection, upload_id: str) -> str:
        """Forget an upload; gives the prefix of its objects, which are loose from then on.

        Raises:
            ServiceError: NOT_FOUND.
        """
        if not await change(
            connection, "DELETE FROM gateway.uploads WHERE upload_id = %s", upload_id
        ):
            raise no_upload(upload_id)
        await loose.announce(connection, below(upload_id))
        return below(upload_id)

    async def sweep(self) -> int:
        """Discard uploads that nothing came for; how many."""
        async with self._database.connection() as connection:
            rows = await many(
                connection,
                "DELETE FROM gateway.uploads WHERE expire_time < now() AND sender_until < now() "
                "RETURNING upload_id",
            )
            for row in rows:
                await loose.announce(connection, below(row["upload_id"]))
        for row in rows:
            await loose.remove(self._database, self._store, below(row["upload_id"]))
        return len(rows)


def below(upload_id: str) -> str:
    """The prefix of an upload's parts."""
    return f"uploads/{upload_id}"


def no_upload(upload_id: str) -> errors.ServiceError:
    """NOT_FOUND."""
    what = f"there is no upload {upload_id}; it was finished or cancelled, or it has lapsed"
    return errors.not_found(what, upload_id=upload_id)


def _upload(row: DictRow) -> Upload:
    return Upload(**{name: row[name] for name in Upload.__dataclass_fields__})
