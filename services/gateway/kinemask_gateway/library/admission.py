"""The end of an upload: one file, checked, looked into, and put into the library, or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kinemask_chassis import errors
from kinemask_chassis.device import DeviceThread

from kinemask_gateway.library import facts, loose
from kinemask_gateway.library.facts import FileFacts, Video, VideoKeys
from kinemask_gateway.library.inspection import Inspection, inspect
from kinemask_gateway.library.pictures import Thumbnail, thumbnail_of
from kinemask_gateway.library.sender import Sender
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.library.uploads import Upload
from kinemask_gateway.storage import ObjectStore


@dataclass(frozen=True)
class Candidate:
    """A video whose objects are stored, and whose row is not yet."""

    video: Video
    thumbnail_frame_index: int

    @property
    def prefix(self) -> str:
        """Where its objects are, announced as loose."""
        return facts.below(self.video.video_id)


@dataclass(frozen=True)
class _Found:
    inspection: Inspection
    thumbnail: Thumbnail


class Admission:
    """Turns stored bytes into candidates."""

    def __init__(
        self, database: Connects, store: ObjectStore, decoding: DeviceThread, max_pixels: int
    ) -> None:
        self._database = database
        self._store = store
        self._decoding = decoding
        self._max_pixels = max_pixels

    async def of_upload(
        self, upload: Upload, sender: Sender, expected_sha256: str, *, salvage: bool
    ) -> Candidate:
        """Compose the file of a whole upload, and look into it.

        Raises:
            ServiceError: DATA_LOSS (CHECKSUM_MISMATCH), INVALID_ARGUMENT as `inspect`, or
                RESOURCE_EXHAUSTED (DISK_FULL); nothing stays of the video.
        """
        made = await self._begun()
        try:
            source = VideoKeys.of(made, upload.file_name).source
            digest = await self._composed(source, sender)
            if expected_sha256 and digest != expected_sha256:
                what = f"expected SHA-256 {expected_sha256}, the bytes have {digest}"
                raise errors.data_loss(what, reason="CHECKSUM_MISMATCH")
            return await self._candidate(made, upload, digest, salvage)
        except BaseException:
            await asyncio.shield(self.give_up(made))
            raise

    async def of_file(self, path: Path, upload: Upload) -> Candidate:
        """The same of a file that is here, such as a render. Blocking parts run in threads."""
        made = await self._begun()
        try:
            await self._store.put(VideoKeys.of(made, upload.file_name).source, path)
            digest = await asyncio.to_thread(_sha256, path)
            return await self._candidate(made, upload, digest, salvage=False)
        except BaseException:
            await asyncio.shield(self.give_up(made))
            raise

    async def give_up(self, video_id: str) -> None:
        """Remove the objects of a candidate that is not to be."""
        await loose.remove(self._database, self._store, facts.below(video_id))

    async def _begun(self) -> str:
        video_id = uuid.uuid4().hex
        async with self._database.connection() as connection:
            await loose.announce(connection, facts.below(video_id))
        return video_id

    async def _composed(self, key: str, sender: Sender) -> str:
        """Write the one file; its SHA-256."""
        digest = hashlib.sha256()

        async def hashed() -> AsyncIterator[bytes]:
            async for piece in sender.stored():
                await asyncio.to_thread(digest.update, piece)
                yield piece

        await self._store.put(key, hashed())
        return digest.hexdigest()

    async def _candidate(
        self, video_id: str, upload: Upload, digest: str, salvage: bool
    ) -> Candidate:
        keys = VideoKeys.of(video_id, upload.file_name)
        async with self._store.local(keys.source) as path:
            stopped = threading.Event()
            try:
                found = await self._decoding.run(self._look, path, salvage, stopped)
            finally:
                stopped.set()  # a client that has gone waits for nothing
        await self._store.put(keys.index, found.inspection.index.to_bytes())
        await self._store.put(keys.thumbnail, found.thumbnail.jpeg)
        file = FileFacts(upload.file_name, found.inspection.media_type, upload.size_bytes, digest)
        video = Video(
            video_id=video_id,
            display_name=upload.display_name,
            metadata_json=upload.metadata_json,
            file=file,
            facts=found.inspection.facts,
            source_job_id="",
            owner_id=upload.owner_id,
            create_time=datetime.now(UTC),
        )
        return Candidate(video, found.thumbnail.frame_index)

    def _look(self, path: Path, salvage: bool, stopped: threading.Event) -> _Found:
        found = inspect(path, max_pixels=self._max_pixels, salvage=salvage, stopped=stopped)
        return _Found(found, thumbnail_of(path, found.index, self._max_pixels))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
