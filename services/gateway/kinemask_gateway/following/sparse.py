"""Stored frames with holes between them: what the backward fill found."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from kinemask_gateway.storage.objects import BlockingReads
from kinemask_gateway.tracks.manifest import ChunkEntry, TracksManifest
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import TrackedFrame


class SparseReader:
    """Reads chunks that need not follow each other. As `TracksReader`: blocking, any thread."""

    def __init__(
        self, reads: BlockingReads, entries: Sequence[ChunkEntry], size: tuple[int, int]
    ) -> None:
        """`entries` in any order, no two of one frame; `size`: (height, width)."""
        self._entries = sorted(entries, key=lambda e: e.first_frame_index)
        self._reads = reads
        self._size = size
        self._held: tuple[int, TracksReader] | None = None

    def frame(self, frame_index: int) -> TrackedFrame | None:
        """One frame; None where nothing is stored. Errors as `TracksReader.frame`."""
        number = bisect_right(self._entries, frame_index, key=lambda e: e.first_frame_index) - 1
        if number < 0:
            return None
        entry = self._entries[number]
        if frame_index >= entry.first_frame_index + entry.frame_count:
            return None
        held = self._held
        if held is None or held[0] != number:
            held = (number, TracksReader(self._reads, TracksManifest(*self._size, (entry,))))
            self._held = held
        return held[1].frame(frame_index)
