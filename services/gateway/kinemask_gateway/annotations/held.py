"""Sessions in memory: what makes the next click on one quick. Nothing here is not stored too."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import grpc
from kinemask import wire
from kinemask.v1 import media_pb2
from kinemask_chassis import errors

from kinemask_gateway.library.library import Library

_FRAME_BYTES = 256 * 1024 * 1024
_JPEG_QUALITY = 95
_ROOM_BYTES = 1 << 16


@dataclass(frozen=True)
class HeldFrame:
    """A decoded frame, and as the segmenter gets it."""

    rgb: wire.RgbImage
    message: media_pb2.Image

    @property
    def size_bytes(self) -> int:
        """What it holds of memory."""
        return self.rgb.nbytes + self.message.ByteSize()


class FrameCache:
    """The frames that were looked at last, of all sessions, within a budget; at least one."""

    def __init__(self, most_bytes: int = _FRAME_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[tuple[str, int], HeldFrame] = OrderedDict()
        self._bytes = 0

    def find(self, video_id: str, number: int) -> HeldFrame | None:
        """A frame, if it is here."""
        frame = self._held.get((video_id, number))
        if frame is not None:
            self._held.move_to_end((video_id, number))
        return frame

    def add(self, video_id: str, number: int, frame: HeldFrame) -> None:
        """Keep a frame; those longest unused make room."""
        before = self._held.pop((video_id, number), None)
        self._bytes += frame.size_bytes - (before.size_bytes if before is not None else 0)
        self._held[video_id, number] = frame
        while self._bytes > self._most_bytes and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            self._bytes -= gone.size_bytes


@dataclass
class HeldSession:
    """One session that somebody works on. Invariant: `lock` is held while it is changed."""

    session_id: str
    frames: FrameCache
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    channel: grpc.aio.Channel | None = None
    """The replica that has seen these frames: it keeps what it made of them."""
    service: media_pb2.ServiceInfo | None = None
    """Who made the last masks."""
    ending: asyncio.Task[None] | None = None
    """A propagation that was told to stop."""
    used_s: float = field(default_factory=time.monotonic)

    async def settled(self, within_s: float) -> None:
        """Wait until a propagation that was told to stop has stopped."""
        if self.ending is not None:
            await asyncio.wait([self.ending], timeout=within_s)
            self.ending = None

    async def frame(
        self, library: Library, video_id: str, number: int, most_bytes: int
    ) -> HeldFrame:
        """A frame of the session's video; those of more than `most_bytes` travel as JPEGs.

        Raises:
            ServiceError: NOT_FOUND, OUT_OF_RANGE, or DATA_LOSS (FRAME_DAMAGED).
        """
        held = self.frames.find(video_id, number)
        if held is None:
            rgb = (await library.frame(video_id, number)).image
            quality = None if rgb.nbytes <= most_bytes - _ROOM_BYTES else _JPEG_QUALITY
            message = await asyncio.to_thread(wire.image_to_message, rgb, quality)
            held = HeldFrame(rgb, message)
            self.frames.add(video_id, number, held)
        return held


class HeldSessions:
    """The sessions in this process's memory, at most `most`; idle ones go after `idle_s`."""

    def __init__(self, idle_s: float, most: int) -> None:
        self._idle_s = idle_s
        self._most = most
        self._held: OrderedDict[str, HeldSession] = OrderedDict()
        self._frames = FrameCache()

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._held

    def find(self, session_id: str) -> HeldSession | None:
        """A session, if it is here."""
        return self._held.get(session_id)

    def wake(self, session_id: str) -> HeldSession:
        """A session, brought here if need be; counts as used."""
        held = self._held.get(session_id)
        if held is None:
            self.sweep()
            self._make_room()
            held = self._held[session_id] = HeldSession(session_id, self._frames)
        held.used_s = time.monotonic()
        self._held.move_to_end(session_id)
        return held

    def forget(self, session_id: str) -> None:
        """Let one go that is stored no more."""
        self._held.pop(session_id, None)

    def sweep(self) -> int:
        """Let go of sessions that nobody has used for a while; how many."""
        before_s = time.monotonic() - self._idle_s
        idle = [h for h in self._held.values() if h.used_s < before_s and not h.lock.locked()]
        for held in idle:
            del self._held[held.session_id]
        return len(idle)

    def _make_room(self) -> None:
        """The one longest unused goes; one that is worked on stays.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED: all of them are worked on.
        """
        if len(self._held) < self._most:
            return
        free = next((h for h in self._held.values() if not h.lock.locked()), None)
        if free is None:
            what = f"{self._most} sessions are worked on now"
            raise errors.exhausted(what, "TOO_MANY_SESSIONS", 1.0)
        del self._held[free.session_id]
