"""A stored video's frames as messages, forwards and backwards, a bounded number at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator

from kinemask import wire
from kinemask.v1 import media_pb2
from kinemask.video import FrameDamagedError, IndexedReader, VideoFrame

_JPEG_QUALITY = 95
_ROOM_BYTES = 1 << 16
_BLOCK_BYTES = 64 * 1024 * 1024
_MOST_IN_BLOCK = 48
_DONE = object()


class FrameSource:
    """Frames of one video.

    Memory: a few frames forwards, and backwards as many as fit into 64 MiB, at least two.
    """

    def __init__(
        self, reader: IndexedReader, max_message_bytes: int, stopped: threading.Event
    ) -> None:
        """Frames of more than `max_message_bytes` travel as JPEGs, others as they are."""
        self._reader = reader
        self._most_bytes = max_message_bytes - _ROOM_BYTES
        self._stopped = stopped

    def time_us(self, frame_index: int) -> int:
        """When a frame is shown, in microseconds from the video's first frame."""
        return self._reader.index.time_us(frame_index)

    def message(self, frame: VideoFrame, frame_id: int) -> media_pb2.Frame:
        """A frame under an id of its own."""
        raw = frame.image.nbytes <= self._most_bytes
        image = wire.image_to_message(frame.image, None if raw else _JPEG_QUALITY)
        time_us = self.time_us(frame.index)
        return media_pb2.Frame(frame_id=frame_id, capture_time_us=time_us, image=image)

    async def ascending(self, first: int, last: int) -> AsyncGenerator[VideoFrame, None]:
        """Frames `first` to `last`; those that cannot be decoded are left out."""
        frames = self._readable(first, last)
        try:
            while (frame := await asyncio.to_thread(next, frames, _DONE)) is not _DONE:
                assert isinstance(frame, VideoFrame)
                yield frame
        finally:
            await asyncio.to_thread(frames.close)

    async def descending(self, last: int, first: int) -> AsyncGenerator[VideoFrame, None]:
        """Frames `last` down to `first`, both included; damaged ones are left out."""
        size = self._reader.info.width * self._reader.info.height * 3
        block = min(max(_BLOCK_BYTES // max(size, 1), 2), _MOST_IN_BLOCK)
        while last >= first:
            begin = max(first, last - block + 1)
            held = await asyncio.to_thread(lambda a, b: list(self._readable(a, b)), begin, last)
            while held:
                yield held.pop()
            last = begin - 1

    def _readable(self, first: int, last: int) -> Generator[VideoFrame, None, None]:
        while first <= last and not self._stopped.is_set():
            try:
                for frame in self._reader.frames(first, last):
                    if self._stopped.is_set():
                        return
                    yield frame
                return
            except FrameDamagedError as error:
                first = error.frame_index + 1
