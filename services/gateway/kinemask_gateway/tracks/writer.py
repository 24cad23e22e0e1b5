"""Writes tracks, once and ascending."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kinemask_gateway.storage import ObjectStore
from kinemask_gateway.tracks.chunks import encode_chunk
from kinemask_gateway.tracks.manifest import ChunkEntry, TracksManifest
from kinemask_gateway.tracks.values import TrackedFrame

FRAMES_PER_CHUNK = 64
_MOST_HELD_BYTES = 8 * 1024 * 1024


async def store_chunk(store: ObjectStore, key: str, frames: Sequence[TrackedFrame]) -> ChunkEntry:
    """Store frames that follow each other as a chunk; `frames` has at least one."""
    blob = await asyncio.to_thread(encode_chunk, frames)
    await store.put(key, blob)
    digest = hashlib.sha256(blob).hexdigest()
    return ChunkEntry(key, frames[0].frame_index, len(frames), digest)


@dataclass(frozen=True)
class StoredTracks:
    """Tracks that are written."""

    manifest_key: str
    manifest: TracksManifest


class TracksWriter:
    """Frames in ascending order, each once; every frame of the range, also those without objects.

    Memory: what one chunk holds, at most `frames_per_chunk` frames or 8 MiB of masks.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: Callable[[str], str],
        size: tuple[int, int],
        *,
        entries: Sequence[ChunkEntry] = (),
        frames_per_chunk: int = FRAMES_PER_CHUNK,
        prefix: str = "tracks",
    ) -> None:
        """`key` makes an object key from a name (`JobContext.key`); `size`: (height, width).

        `entries`: the chunks that are written already, to go on after them. Object names begin
        with `prefix`, so that one job may write several.
        """
        self._store = store
        self._key = key
        self._size = size
        self._entries = list(entries)
        self._frames_per_chunk = frames_per_chunk
        self._prefix = prefix
        self._held: list[TrackedFrame] = []
        self._held_bytes = 0

    @property
    def entries(self) -> tuple[ChunkEntry, ...]:
        """The chunks that are stored: what a checkpoint keeps."""
        return tuple(self._entries)

    @property
    def next_frame_index(self) -> int | None:
        """The frame that is to come; None before the first one."""
        if self._held:
            return self._held[-1].frame_index + 1
        if self._entries:
            return self._entries[-1].first_frame_index + self._entries[-1].frame_count
        return None

    async def add(self, frame: TrackedFrame) -> None:
        """Take the next frame.

        Raises:
            ValueError: it is not the one after the last.
            ServiceError: the store is full or away.
        """
        expected = self.next_frame_index
        if expected is not None and frame.frame_index != expected:
            raise ValueError(f"expected frame {expected}, got {frame.frame_index}")
        self._held.append(frame)
        self._held_bytes += sum(len(entry.rle) for entry in frame.objects)
        full = len(self._held) >= self._frames_per_chunk
        if full or self._held_bytes >= _MOST_HELD_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Store what is held as a chunk."""
        if not self._held:
            return
        first = self._held[0].frame_index
        key = self._key(f"{self._prefix}/{first:09d}")
        self._entries.append(await store_chunk(self._store, key, self._held))
        self._held, self._held_bytes = [], 0

    async def finish(self) -> StoredTracks:
        """Store the rest and the manifest.

        Raises:
            ValueError: no frame was ever added.
        """
        await self.flush()
        if not self._entries:
            raise ValueError("expected at least one frame, got none")
        manifest = TracksManifest(*self._size, self.entries)
        key = self._key(f"{self._prefix}/manifest")
        await self._store.put(key, manifest.to_bytes())
        return StoredTracks(key, manifest)
