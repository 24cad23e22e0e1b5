"""Objects by key, behind obstore: folders and S3 look alike; every put is all or nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import obstore
from kinemask_chassis import errors
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from kinemask_gateway.storage.cache import LocalCopies

PART_BYTES = 8 * 1024 * 1024
"""What is held of an object in memory at a time, and the size of a part sent to S3."""
_CONCURRENT_PARTS = 2
_FULL = ("No space left", "os error 28", "Disk quota exceeded", "File too large", "EntityTooLarge")
_RETRY_AFTER_S = 2.0


class ObjectMissingError(Exception):
    """There is no object of this key, or there is none any more."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key}")
        self.key = key


class BlockingReads:
    """Whole objects for code that is not asyncio's: any thread, and picklable for any process."""

    def __init__(self, store: obstore.store.ObjectStore) -> None:
        self._store = store

    def get(self, key: str) -> bytes:
        """A whole object; for small ones. Errors as `ObjectStore.get`."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        except (BaseError, OSError) as error:
            raise _explained(error) from error


class ObjectStore:
    """Puts, gets, lists and deletes objects. Keys look like `videos/ID/source`.

    An object appears when its put returns and not before; what a killed process left half-written
    is never listed nor read. Memory stays at a few parts whatever the object's size.
    Methods raise ServiceError: RESOURCE_EXHAUSTED (reason DISK_FULL), or UNAVAILABLE (reason
    OBJECT_STORE_UNAVAILABLE) with RetryInfo.
    """

    def __init__(self, store: obstore.store.ObjectStore, copies: LocalCopies) -> None:
        self._store = store
        self._copies = copies
        self.blocking = BlockingReads(store)
        self._folder = Path(str(store.prefix)) if isinstance(store, LocalStore) else None

    async def put(self, key: str, data: bytes | AsyncIterable[bytes] | Path) -> None:
        """Store bytes, a stream of them, or a file; replaces what was there."""
        try:
            await obstore.put_async(
                self._store, key, data, chunk_size=PART_BYTES, max_concurrency=_CONCURRENT_PARTS
            )
        except (BaseError, OSError) as error:
            raise _explained(error) from error

    async def get(self, key: str) -> bytes:
        """A whole object; for small ones.

        Raises:
            ObjectMissingError: there is none.
        """
        return b"".join([piece async for piece in self.read(key)])

    async def read(
        self, key: str, offset: int = 0, length: int | None = None, chunk_bytes: int = PART_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes from `offset` on, at most `length`, in pieces of at most `chunk_bytes`.

        A local object that is deleted meanwhile is read to its end.

        Raises:
            ObjectMissingError: there is none, or it was deleted meanwhile.
        """
        try:
            size = await self.size(key)
            end = size if length is None else min(offset + length, size)
            if offset >= end:
                return
            found = await obstore.get_async(self._store, key, options={"range": (offset, end)})
            async for piece in found.stream(min_chunk_size=chunk_bytes):
                view = memoryview(piece)
                for start in range(0, len(view), chunk_bytes):
                    yield bytes(view[start : start + chunk_bytes])
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        except (BaseError, OSError) as error:
            raise _explained(error) from error

    async def size(self, key: str) -> int:
        """Bytes of an object.

        Raises:
            ObjectMissingError: there is none.
        """
        try:
            meta = await obstore.head_async(self._store, key)
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        except (BaseError, OSError) as error:
            raise _explained(error) from error
        return int(meta["size"])

    async def keys(self, prefix: str) -> list[str]:
        """The keys below `prefix`, ascending."""
        found: list[str] = []
        try:
            async for page in obstore.list(self._store, prefix=prefix):
                found += [entry["path"] for entry in page]
        except (BaseError, OSError) as error:
            raise _explained(error) from error
        return sorted(found)

    async def delete(self, *keys: str) -> None:
        """Remove objects; those that are not there are passed over."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _explained(error) from error
        self._copies.forget(keys)

    async def delete_below(self, prefix: str) -> None:
        """Remove every object below a prefix, and what a killed process left there half-written."""
        await self.delete(*await self.keys(prefix))
        if self._folder is not None:
            # Objects on their way are files that a listing passes over.
            await asyncio.to_thread(shutil.rmtree, self._folder / prefix, ignore_errors=True)

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """The object as a file of this machine, for as long as the block lasts; not to be changed.

        Of a folder it is the object itself, of S3 a copy that is kept for a while. It stays
        readable if the object is deleted meanwhile by whoever has opened it.

        Raises:
            ObjectMissingError: there is none.
        """
        if self._folder is not None:
            path = self._folder / key
            if not path.is_file():
                raise ObjectMissingError(key)
            yield path
            return
        size = await self.size(key)
        async with self._copies.hold(key, size, lambda: self.read(key)) as path:
            yield path

    def free_bytes(self) -> int | None:
        """What still has room; None where that cannot be told."""
        if self._folder is None:
            return None
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize


def open_store(url: str, data_dir: Path) -> ObjectStore:
    """The store of KINEMASK_OBJECT_STORE: a folder, `file://`, `s3://BUCKET/PREFIX`, or nothing.

    Nothing means the folder `objects` in `data_dir`. S3 reads its keys, region and endpoint from
    the usual AWS_ variables.

    Raises:
        ValueError: not such a URL, or the folder cannot be made; the message says which.
    """
    copies = LocalCopies(data_dir / "cache")
    try:
        if "://" in url and not url.startswith("file://"):
            return ObjectStore(from_url(url), copies)
        folder = Path(url.removeprefix("file://")) if url else data_dir / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        return ObjectStore(LocalStore(folder.resolve()), copies)
    except (BaseError, OSError, ValueError) as error:
        raise ValueError(
            f"KINEMASK_OBJECT_STORE: expected a folder or s3://BUCKET/PREFIX, got {url!r}: {error}"
        ) from error


def disk_full(what: str) -> errors.ServiceError:
    """RESOURCE_EXHAUSTED: there is no room for bytes."""
    return errors.exhausted(what, "DISK_FULL")


def _explained(error: Exception) -> errors.ServiceError:
    text = str(error)
    if any(sign in text for sign in _FULL):
        return disk_full("the object store is full; nothing was written")
    return errors.unavailable(
        f"the object store cannot be used: {text[:300]}",
        reason="OBJECT_STORE_UNAVAILABLE",
        retry_after_s=_RETRY_AFTER_S,
    )
