"""The one call that sends an upload: chunks gathered into parts, parts stored one after another."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc
from kinemask_chassis import errors

from kinemask_gateway.library.sql import Connects, change, many
from kinemask_gateway.storage import ObjectMissingError, ObjectStore
from kinemask_gateway.storage.objects import PART_BYTES

LEASE_S = 10.0
"""A sender that was killed blocks its upload for so long."""
_RENEW_S = 2.5


class Sender:
    """Takes chunks in order; holds at most one part of them in memory.

    Invariant: bytes below `position` were taken, those below `stored_bytes` are stored for good.
    """

    def __init__(
        self,
        database: Connects,
        store: ObjectStore,
        *,
        name: str,
        upload_id: str,
        size_bytes: int,
        stored_bytes: int,
        ttl_s: float,
    ) -> None:
        self._database = database
        self._store = store
        self._name = name
        self._upload_id = upload_id
        self._ttl_s = ttl_s
        self._held = bytearray()
        self._renewal: asyncio.Task[None] | None = None
        self.size_bytes = size_bytes
        self.stored_bytes = stored_bytes

    @property
    def position(self) -> int:
        """Where the next chunk begins."""
        return self.stored_bytes + len(self._held)

    async def take(self, offset: int, data: bytes, crc32: int | None = None) -> None:
        """One chunk. Bytes that were taken before are compared and passed over.

        Raises:
            ServiceError: DATA_LOSS, OUT_OF_RANGE, ABORTED or RESOURCE_EXHAUSTED; the chunk was
                not taken.
        """
        self._check(offset, data, crc32)
        known = data[: max(self.position - offset, 0)]
        if known and known != await self._taken(offset, len(known)):
            what = f"the bytes at {offset} differ from those that were sent before"
            raise errors.data_loss(what, reason="CHUNK_DIFFERS")
        self._held += data[len(known) :]
        if len(self._held) >= PART_BYTES:
            await self._flush()

    async def stored(self) -> AsyncIterator[bytes]:
        """All that is stored, from the begin on."""
        for first, key, size in await self._parts():
            async for piece in self._piece(key, 0, size):
                yield piece
            assert first + size <= self.stored_bytes

    async def __aenter__(self) -> Self:
        self._renewal = asyncio.create_task(self._keep_renewing())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A client that has gone cancels this call; what it sent is to be stored all the same.
        await asyncio.shield(asyncio.ensure_future(self._leave(quietly=error is not None)))

    async def _leave(self, quietly: bool) -> None:
        try:
            await self._flush()
        except errors.ServiceError:
            if not quietly:
                raise
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            await self._release()

    def _check(self, offset: int, data: bytes, crc32: int | None) -> None:
        if crc32 is not None and zlib.crc32(data) != crc32:
            what = f"the chunk at {offset} has another CRC-32 than was said; send it again"
            raise errors.data_loss(what, reason="CHUNK_DAMAGED")
        if offset > self.position:
            raise _out_of_range(f"expected a chunk at {self.position}, got one at {offset}")
        if offset + len(data) > self.size_bytes:
            end = offset + len(data)
            raise _out_of_range(f"expected {self.size_bytes} bytes in all, got some up to {end}")

    async def _taken(self, offset: int, length: int) -> bytes:
        """Bytes that were taken before, from the parts and from what is held."""
        end, found = offset + length, bytearray()
        for first, key, size in await self._parts():
            start, stop = max(offset, first), min(end, first + size)
            if start < stop:
                async for piece in self._piece(key, start - first, stop - start):
                    found += piece
        held_from = max(offset, self.stored_bytes) - self.stored_bytes
        if end > self.stored_bytes:
            found += self._held[held_from : end - self.stored_bytes]
        return bytes(found)

    async def _piece(self, key: str, offset: int, length: int) -> AsyncIterator[bytes]:
        try:
            async for piece in self._store.read(key, offset, length):
                yield piece
        except ObjectMissingError as error:
            raise errors.data_loss("a part of the upload is gone; begin a new one") from error

    async def _parts(self) -> list[tuple[int, str, int]]:
        """(first byte, key, size) of each part, ascending."""
        async with self._database.connection() as connection:
            rows = await many(
                connection,
                "SELECT first_byte, object_key, size_bytes FROM gateway.upload_parts "
                "WHERE upload_id = %s ORDER BY first_byte",
                (self._upload_id,),
            )
        return [(row["first_byte"], row["object_key"], row["size_bytes"]) for row in rows]

    async def _flush(self) -> None:
        """Store what is held as a part."""
        if not self._held:
            return
        # A name of its own: whoever believes to be the sender still cannot change another's part.
        key = f"uploads/{self._upload_id}/{self.stored_bytes:020d}-{uuid.uuid4().hex[:8]}"
        await self._store.put(key, bytes(self._held))
        end = self.position
        async with self._database.connection() as connection:
            mine = await change(
                connection,
                "UPDATE gateway.uploads SET stored_bytes = %s, "
                "expire_time = now() + make_interval(secs => %s) "
                "WHERE upload_id = %s AND sender = %s AND stored_bytes = %s",
                *(end, self._ttl_s, self._upload_id, self._name, self.stored_bytes),
            )
            if mine:
                await change(
                    connection,
                    "INSERT INTO gateway.upload_parts (upload_id, first_byte, object_key, "
                    "size_bytes) VALUES (%s, %s, %s, %s)",
                    *(self._upload_id, self.stored_bytes, key, len(self._held)),
                )
        if not mine:
            self._held.clear()
            await self._store.delete(key)
            raise errors.aborted("the upload was cancelled or taken over", reason="UPLOAD_BUSY")
        self.stored_bytes = end
        self._held.clear()

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            # The database may be away for a moment; the next part finds out whether this counts.
            with suppress(errors.ServiceError):
                await self._set_lease(self._name, LEASE_S)

    async def _release(self) -> None:
        with suppress(errors.ServiceError):  # it lapses by itself
            await self._set_lease("", 0.0)

    async def _set_lease(self, name: str, seconds: float) -> None:
        async with self._database.connection() as connection:
            await change(
                connection,
                "UPDATE gateway.uploads SET sender = %s, "
                "sender_until = now() + make_interval(secs => %s) "
                "WHERE upload_id = %s AND sender = %s",
                *(name, seconds, self._upload_id, self._name),
            )


def _out_of_range(what: str) -> errors.ServiceError:
    return errors.ServiceError(grpc.StatusCode.OUT_OF_RANGE, what, reason="WRONG_OFFSET")
