"""Reads stored tracks, from anywhere in them, in threads and processes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

from kinemask_chassis.snapshots import SnapshotError

from kinemask_gateway.storage.objects import BlockingReads, ObjectMissingError, ObjectStore
from kinemask_gateway.tracks.chunks import decode_chunk
from kinemask_gateway.tracks.manifest import TracksManifest
from kinemask_gateway.tracks.values import TrackedFrame


class TracksDamagedError(Exception):
    """A chunk or a manifest is gone, or is not what was written."""


class TracksReader:
    """The frames of stored tracks.

    Blocking; any thread, several at a time; can be pickled for another process. Memory: the chunk
    that was read last.
    """

    def __init__(self, reads: BlockingReads, manifest: TracksManifest) -> None:
        self.manifest = manifest
        self._reads = reads
        self._held: tuple[int, tuple[TrackedFrame, ...]] | None = None

    @classmethod
    async def open(cls, store: ObjectStore, manifest_key: str) -> TracksReader:
        """Read a manifest.

        Raises:
            TracksDamagedError: it is gone or damaged.
            ServiceError: the store is away.
        """
        try:
            manifest = TracksManifest.from_bytes(await store.get(manifest_key))
        except (ObjectMissingError, SnapshotError) as error:
            raise TracksDamagedError(str(error)) from error
        return cls(store.blocking, manifest)

    def frame(self, frame_index: int) -> TrackedFrame:
        """One frame.

        Raises:
            IndexError: there is no such frame.
            TracksDamagedError: its chunk is gone or damaged.
            ServiceError: the store is away.
        """
        number = self.manifest.chunk_of(frame_index)
        first = self.manifest.chunks[number].first_frame_index
        return self._chunk(number)[frame_index - first]

    def frames(self, first: int | None = None, last: int | None = None) -> Iterator[TrackedFrame]:
        """Frames `first` to `last`, both included, ascending; by default all.

        Errors as `frame`, the IndexError at once.
        """
        first = self.manifest.first_frame_index if first is None else first
        last = self.manifest.last_frame_index if last is None else last
        numbers = range(self.manifest.chunk_of(first), self.manifest.chunk_of(last) + 1)
        return self._frames(numbers, first, last)

    def _frames(self, numbers: range, first: int, last: int) -> Iterator[TrackedFrame]:
        for number in numbers:
            for frame in self._chunk(number):
                if first <= frame.frame_index <= last:
                    yield frame

    def __getstate__(self) -> tuple[BlockingReads, TracksManifest]:
        return self._reads, self.manifest

    def __setstate__(self, state: tuple[BlockingReads, TracksManifest]) -> None:
        self._reads, self.manifest = state
        self._held = None

    def _chunk(self, number: int) -> tuple[TrackedFrame, ...]:
        held = self._held  # once: another thread may put another one here
        if held is not None and held[0] == number:
            return held[1]
        entry = self.manifest.chunks[number]
        try:
            blob = self._reads.get(entry.key)
            if hashlib.sha256(blob).hexdigest() != entry.sha256:
                raise TracksDamagedError(f"the chunk {entry.key} is not the one that was written")
            frames = decode_chunk(blob)
        except (ObjectMissingError, SnapshotError) as error:
            raise TracksDamagedError(str(error)) from error
        self._held = (number, frames)
        return frames


def only(frame: TrackedFrame, object_ids: Collection[int]) -> TrackedFrame:
    """A frame with those objects alone; an empty collection means all."""
    if not object_ids:
        return frame
    kept = tuple(entry for entry in frame.objects if entry.object_id in object_ids)
    return TrackedFrame(frame.frame_index, frame.time_us, kept, frame.detected, frame.scene_cut)
