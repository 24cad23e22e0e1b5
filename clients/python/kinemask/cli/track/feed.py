"""The front half of the pipeline: decode, encode for the wire, send; in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError, usage_error
from kinemask.cli.options import Pointed

if TYPE_CHECKING:
    from kinemask.client import LiveStream, PendingEdit
    from kinemask.video import VideoFrame, VideoReader

JPEG_QUALITY = 95
_SPARE_FRAMES = 4
"""Decoded frames that may exist beyond those the server works on."""


@dataclass
class FeedTimes:
    """Milliseconds in all."""

    decode_ms: float = 0.0
    jpeg_ms: float = 0.0


@dataclass
class _Prompted:
    shown: Pointed
    edit: PendingEdit


@dataclass
class Feed:
    """Sends frames start..end-1 of a reader to an open stream; use it as a context manager.

    Invariants: every frame that was sent is given by `take` exactly once, in order; at most
    window + `_SPARE_FRAMES` + ahead are held between their decoding and `release`.
    """

    reader: VideoReader
    stream: LiveStream
    window: int
    objects: Sequence[Pointed]
    start: int
    end: int | None
    ahead: int = 0
    """Frames that are held back after they were answered."""
    times: FeedTimes = field(default_factory=FeedTimes)
    error: Exception | None = None
    """Why it ended early."""

    def __post_init__(self) -> None:
        self._room = threading.Semaphore(self.window + _SPARE_FRAMES + self.ahead)
        self._sent: deque[VideoFrame] = deque()
        self._prompted: deque[_Prompted] = deque()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kinemask-feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._room.release()
        self.stream.close()  # a send that waits for the window ends with it
        self._thread.join()

    def take(self) -> VideoFrame:
        """The oldest frame that was sent and not taken yet."""
        return self._sent.popleft()

    def release(self) -> None:
        """The frame taken last is not needed any more."""
        self._room.release()

    def refused(self) -> CommandError | None:
        """What the server said against a --box or --point, once it is known."""
        from kinemask.errors import KinemaskError

        while self._prompted and self._prompted[0].edit.done:
            prompted = self._prompted.popleft()
            try:
                prompted.edit.result()
            except KinemaskError as error:
                return usage_error(f"{prompted.shown.written}: {error.message}")
        return None

    def _run(self) -> None:
        from kinemask.errors import StreamClosedError

        try:
            for frame in self._wanted():
                self._send(frame)
            if not self._leaving.is_set():
                self.stream.finish()
        except StreamClosedError as error:
            if not self._leaving.is_set():
                self._give_up(error)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.error = error
        self.stream.close()

    def _wanted(self) -> Iterator[VideoFrame]:
        """The frames of the range, each once there is room for it."""
        frames = iter(self.reader)
        while not self._leaving.is_set():
            self._room.acquire()
            begun_s = time.perf_counter()
            frame = next(frames, None)
            while frame is not None and frame.index < self.start:
                frame = next(frames, None)
            self.times.decode_ms += (time.perf_counter() - begun_s) * 1e3
            if frame is None or (self.end is not None and frame.index >= self.end):
                return
            yield frame

    def _send(self, frame: VideoFrame) -> None:
        from kinemask.images import encode_jpeg

        begun_s = time.perf_counter()
        jpeg = encode_jpeg(frame.image, JPEG_QUALITY)
        self.times.jpeg_ms += (time.perf_counter() - begun_s) * 1e3
        self._prompt(frame.index)
        self._sent.append(frame)  # before it is sent: its answer may be quicker than this thread
        when_us = max(round(frame.time_s * 1e6), 0)
        self.stream.send(jpeg, frame_id=frame.index, capture_time_us=when_us)

    def _prompt(self, index: int) -> None:
        from kinemask.types import Prompt

        for shown in self.objects:
            if (self.start if shown.frame is None else shown.frame) != index:
                continue
            points = () if shown.point_xy is None else (shown.point_xy,)
            prompt = Prompt(points, box=shown.box_xyxy, label=shown.name, frame_id=index)
            self._prompted.append(_Prompted(shown, self.stream.edit(prompt)))
