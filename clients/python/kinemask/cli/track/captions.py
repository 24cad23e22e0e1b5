"""Captions of every n-th frame of a run, made beside its masks and complete at its end."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.results import Caption
    from kinemask.types import RgbImage
    from kinemask.video import VideoFrame

# Enough for the captioner to have a batch, few enough for memory to stay flat.
_UNDER_WAY = 8
_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class FrameCaption:
    """The words for one frame, or why there are none."""

    frame: int
    time_s: float
    text: str
    why: str = ""
    """Empty if it was described."""


class FrameCaptions:
    """Sends frames to the captioner; use it as a context manager.

    Invariant: at most `_UNDER_WAY` frames are held; `add` waits where there would be more.
    """

    def __init__(self, client: Client, every: int, model: str) -> None:
        """Every n-th frame is described, the first that comes included."""
        self._client = client
        self._every = every
        self._model = model
        self._seen = 0
        self._room = threading.Semaphore(_UNDER_WAY)
        self._pool = ThreadPoolExecutor(_UNDER_WAY, thread_name_prefix="kinemask-captions")
        self._made: list[Future[FrameCaption]] = []

    def __enter__(self) -> FrameCaptions:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=error is not None)

    def check(self) -> None:
        """Better now than after an hour.

        Raises:
            CommandError: there is no such model, or it is not ready.
            KinemaskError: there is no captioner.
        """
        models = self._client.models("captioner")
        if self._model == "auto":
            chosen = next((one for one in models if one.is_default), None)
            lacks = "; ".join(f"{one.name}: {one.reason}" for one in models[:1])
            if chosen is None:
                raise CommandError(f"there is nothing to caption with: {lacks}")
            return
        named = next((one for one in models if one.name == self._model), None)
        if named is None or not named.ready:
            names = ", ".join(one.name for one in models)
            why = named.reason if named else f"the captioner has no such model, but {names}"
            raise CommandError(f"{self._model}: {why}")

    def add(self, frame: VideoFrame) -> None:
        """Count a frame, and send it if it is its turn."""
        turn = self._seen % self._every == 0
        self._seen += 1
        if not turn:
            return
        self._room.acquire()
        described = self._pool.submit(self._describe, frame.index, frame.time_s, frame.image)
        described.add_done_callback(lambda _: self._room.release())
        self._made.append(described)

    def finish(self) -> list[FrameCaption]:
        """Wait for all of them, in the frames' order."""
        return [described.result() for described in self._made]

    def _describe(self, index: int, time_s: float, image: RgbImage) -> FrameCaption:
        from kinemask.errors import KinemaskError

        try:
            made: Caption = self._client.caption(image, model=self._model, timeout_s=_TIMEOUT_S)
        except KinemaskError as error:
            # The masks are worth having without it.
            return FrameCaption(index, time_s, "", error.message or type(error).__name__)
        return FrameCaption(index, time_s, made.text)
