"""Which chunks tracks are made of."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, cast

from kinemask_chassis.snapshots import Json, SnapshotError, pack, unpack

_KIND = "tracks"
_VERSION = 1


@dataclass(frozen=True)
class ChunkEntry:
    """One chunk: frames without a gap, under a key of its own."""

    key: str
    first_frame_index: int
    frame_count: int
    sha256: str
    """Of the blob: 64 hexadecimal digits in lower case."""


@dataclass(frozen=True)
class TracksManifest:
    """The chunks of one video's tracks.

    Invariant: chunks are ascending and follow each other without a gap; there is at least one.
    """

    height: int
    """Of every mask, in pixels."""
    width: int
    chunks: tuple[ChunkEntry, ...]

    @property
    def first_frame_index(self) -> int:
        return self.chunks[0].first_frame_index

    @property
    def last_frame_index(self) -> int:
        return self.first_frame_index + self.frame_count - 1

    @property
    def frame_count(self) -> int:
        return sum(chunk.frame_count for chunk in self.chunks)

    @property
    def sha256(self) -> str:
        """Of all chunks: tracks that are the same have the same one, wherever they are stored."""
        told = f"{self.width}x{self.height}\n" + "\n".join(chunk.sha256 for chunk in self.chunks)
        return hashlib.sha256(told.encode()).hexdigest()

    def chunk_of(self, frame_index: int) -> int:
        """The number of the chunk that a frame is in.

        Raises:
            IndexError: there is no such frame.
        """
        if not self.first_frame_index <= frame_index <= self.last_frame_index:
            expected = f"{self.first_frame_index} to {self.last_frame_index}"
            raise IndexError(f"expected a frame from {expected}, got {frame_index}")
        return bisect_right(self.chunks, frame_index, key=lambda c: c.first_frame_index) - 1

    def to_bytes(self) -> bytes:
        """For storing; `from_bytes` takes it back."""
        facts: dict[str, Json] = {
            "size": [self.height, self.width],
            "chunks": entries_to_json(self.chunks),
        }
        return pack(_KIND, _VERSION, facts)

    @classmethod
    def from_bytes(cls, data: bytes) -> TracksManifest:
        """Raises SnapshotError for what `to_bytes` did not write."""
        facts: Any = unpack(data, _KIND, _VERSION).facts
        try:
            height, width = facts["size"]
            return cls(height, width, entries_from_json(facts["chunks"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"expected a manifest of tracks, found: {error}") from error


def entries_to_json(entries: tuple[ChunkEntry, ...]) -> list[Json]:
    """For a checkpoint or a manifest."""
    return [[e.key, e.first_frame_index, e.frame_count, e.sha256] for e in entries]


def entries_from_json(told: Json) -> tuple[ChunkEntry, ...]:
    """The other way round."""
    return tuple(ChunkEntry(*entry) for entry in cast(Any, told))
