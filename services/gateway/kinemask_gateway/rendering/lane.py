"""One lane of a render: decodes, draws and encodes chunk after chunk."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from kinemask.video import (
    ChunkEncoder,
    EncodedChunk,
    EncoderSettings,
    FrameIndex,
    IndexedReader,
    PlanarFrame,
    VideoInfo,
    black_frame,
    prefetch,
)

from kinemask_gateway.rendering.coverage import Coverage, extend
from kinemask_gateway.rendering.drawing import Drawing
from kinemask_gateway.rendering.plan import Span
from kinemask_gateway.tracks.reader import TracksReader

_LENGTH = struct.Struct(">I")
_AHEAD = 3
"""Frames that are drawn while others are encoded."""


class StoppedError(Exception):
    """The result is wanted no more."""


@dataclass(frozen=True)
class Source:
    """What a render is made of."""

    path: Path
    index: FrameIndex
    info: VideoInfo
    tracks: TracksReader
    drawing: Drawing
    settings: EncoderSettings
    """Of the frames as they are encoded."""
    span: Span
    """The frames to render."""
    first_pts: int
    """What becomes 0 in the render: the pts of a range's first frame, 0 for a whole video."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the encoded frames, even."""
        width, height = self.settings.width, self.settings.height
        return width + width % 2, height + height % 2


@dataclass(frozen=True)
class RenderedChunk:
    """A chunk, encoded, and how its objects are covered."""

    encoded: EncodedChunk
    coverage: Coverage

    def to_bytes(self) -> bytes:
        """For storing; `from_bytes` takes it back."""
        told = json.dumps(self.coverage.to_json()).encode()
        return _LENGTH.pack(len(told)) + told + self.encoded.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> RenderedChunk:
        """Raises ValueError for what `to_bytes` did not write."""
        (length,) = _LENGTH.unpack_from(data)
        end = _LENGTH.size + length
        coverage = Coverage.from_json(json.loads(data[_LENGTH.size : end]))
        return cls(EncodedChunk.from_bytes(data[end:]), coverage)


class Lane:
    """Renders chunks, drawing in a thread of its own. Called from one thread at a time.

    It holds the decoder where the last chunk ended: the next one goes on there without seeking.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader: IndexedReader | None = None
        # A chunk of tracks is held by a reader: one for each lane.
        self._tracks = TracksReader(*source.tracks.__getstate__())
        self._decoded: Iterator[PlanarFrame | None] = iter(())
        self._next = -1
        self.frames_done = 0
        """Of all chunks so far; any thread may look."""

    def render(self, chunk: Span, is_stopped: Callable[[], bool]) -> RenderedChunk:
        """One chunk.

        Raises:
            StoppedError: `is_stopped` said so.
            VideoError: the video cannot be read, or encoded.
            TracksDamagedError, ServiceError: the tracks cannot be read.
        """
        coverage = Coverage()
        encoder = ChunkEncoder(self._source.settings, self._source.path)
        self._seek(chunk.first)
        drawn = prefetch(self._drawn(chunk, coverage), _AHEAD)
        try:
            for number, picture in enumerate(drawn, chunk.first):
                if is_stopped():
                    raise StoppedError
                encoder.encode(picture, *self._times(number))
                self.frames_done += 1
        finally:
            drawn.close()
        return RenderedChunk(encoder.finish(), coverage)

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._decoded, Generator):
            self._decoded.close()

    def _drawn(self, chunk: Span, coverage: Coverage) -> Generator[av.VideoFrame, None, None]:
        """The chunk's pictures, each good until `_AHEAD` others have come."""
        held: av.VideoFrame | None = None
        for tracked in self._tracks.frames(chunk.first, chunk.last):
            number = tracked.frame_index
            frame = next(self._decoded)
            self._next = number + 1
            drawn = frame or black_frame(number, self._source.info)
            self._source.drawing.draw(drawn.planes, tracked, coverage)
            if drawn.damaged:
                extend(coverage.damaged, number, number)
            # What cannot be decoded shows what was rendered last.
            if frame is not None or held is None:
                held = self._scaled(drawn)
            yield held

    def _seek(self, first: int) -> None:
        if first != self._next:
            self.close()
            path, index = self._source.path, self._source.index
            self._reader = self._reader or IndexedReader(path, index, max_pixels=2**31)
            self._decoded = self._reader.planar_frames(
                first, self._source.span.last, reuse=_AHEAD + 3
            )
            self._next = first

    def _scaled(self, frame: PlanarFrame) -> av.VideoFrame:
        picture = frame.sealed()
        width, height = self._source.size
        if (picture.width, picture.height) == (width, height):
            return picture
        return picture.reformat(width=width, height=height, interpolation="BICUBIC")

    def _times(self, number: int) -> tuple[int, int]:
        """When a frame is shown, and for how long."""
        index = self._source.index
        pts = int(index.pts[number])
        last = number + 1 == index.frame_count
        end = index.end_pts if last else int(index.pts[number + 1])
        return pts - self._source.first_pts, max(end - pts, 1)
