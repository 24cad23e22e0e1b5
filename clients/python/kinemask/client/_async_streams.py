"""Streams for asyncio: the caller's face of a `StreamCore`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

from kinemask import config, results, types
from kinemask.client import _encode, _kinds
from kinemask.client._connection import AnswerT, StreamKind
from kinemask.client._inbox import EditAck
from kinemask.client._propagation import AsyncPropagation, propagation
from kinemask.client._stream import StreamContext, StreamCore
from kinemask.v1 import media_pb2

if TYPE_CHECKING:
    from kinemask.types import BoolMask, ImageLike


def now_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class AsyncPendingEdit:
    """An edit under way. Await it for its answer, or let it be: refusals are logged too.

    An edit that names no frame lands on the next one sent, so it is answered only then: send that
    frame before awaiting.
    """

    def __init__(self, future: asyncio.Future[EditAck]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, EditAck]:
        """Raises KinemaskError: the edit was refused, or the stream ended before it."""
        return asyncio.shield(self._future).__await__()

    @property
    def done(self) -> bool:
        """True once it is answered."""
        return self._future.done()


class AsyncStream(Generic[AnswerT]):
    """A running stream: send frames, iterate over their answers.

    Opened by `async with`, or by its first use. Iterating ends when the stream was finished and
    everything is answered; an error that ends the stream is raised after the answers there are.
    One task may send while another reads; one that only sends is answered too, until
    `StreamOptions.max_unread` answers wait.
    """

    def __init__(self, kind: StreamKind[AnswerT], context: StreamContext) -> None:
        self._core = StreamCore(kind, context)
        self.request_id = context.request_id
        """Names the stream in every service's log."""

    @property
    def info(self) -> config.StreamInfo | None:
        """Window, policy and who serves now; None before the stream is open."""
        return self._core.info

    async def open(self) -> config.StreamInfo:
        """Wait until the server has taken the stream.

        Raises:
            KinemaskError: it has not.
        """
        return await self._core.open()

    async def finish(self) -> None:
        """No frame and no edit comes any more; everything sent is still answered."""
        await self._core.open()
        self._core.finish()

    async def aclose(self) -> None:
        """End the stream now, whatever is unanswered. Idempotent."""
        await self._core.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[AnswerT]:
        while (answer := await self._core.next()) is not None:
            yield answer

    async def next(self) -> AnswerT | None:
        """The next answer; None after the last one of a finished stream."""
        return await self._core.next()

    def ready(self) -> AnswerT | None:
        """An answer that is there already, without waiting; None if there is none."""
        return self._core.ready()


class AsyncImageStream(AsyncStream[AnswerT]):
    """A stream whose frames are pictures."""

    def __init__(
        self, kind: StreamKind[AnswerT], context: StreamContext, jpeg_quality: int | None
    ) -> None:
        super().__init__(kind, context)
        self._jpeg_quality = jpeg_quality
        self._sending = asyncio.Lock()

    async def send(
        self,
        image: ImageLike,
        *,
        frame_id: int | None = None,
        capture_time_us: int | None = None,
    ) -> int:
        """Send a frame; returns its id. Under policy `block` waits while the window is full.

        Args:
            image: `(H, W, 3)` uint8 RGB, encoded bytes, or a path. Arrays are encoded as JPEG.
            frame_id: strictly increasing. Default: one more than the last, from 0.
            capture_time_us: since the Unix epoch, or since a stored video's start. Default: now.

        Raises:
            KinemaskError: the stream is over.
            ValueError: not a picture, or an id that does not increase.
        """
        when_us = now_us() if capture_time_us is None else capture_time_us
        async with self._sending:  # encoding must not change the order
            message = await self._encoded(image)
            return await self.send_encoded(message, frame_id, when_us)

    async def _encoded(self, image: ImageLike) -> media_pb2.Image:
        if isinstance(image, bytes):  # nothing to do that is worth a thread
            return _encode.image(image, self._jpeg_quality)
        return await asyncio.to_thread(_encode.image, image, self._jpeg_quality)

    async def send_encoded(
        self, image: media_pb2.Image, frame_id: int | None, capture_time_us: int
    ) -> int:
        """Send a picture that is a message already."""
        return await self._core.send(media_pb2.Frame(image=image), frame_id, capture_time_us)


class AsyncLiveStream(AsyncImageStream[results.LiveFrame]):
    """LiveService.Stream: frames in, objects with masks and identities out."""

    def prompt(
        self,
        object_id: int = 0,
        *,
        points: Sequence[types.PointXy] = (),
        negative_points: Sequence[types.PointXy] = (),
        box: types.BoxXyxy | None = None,
        mask: BoolMask | None = None,
        frame_id: int | None = None,
        label: str = "",
    ) -> AsyncPendingEdit:
        """Add an object (id 0: the gateway picks one), or refine one, on a recent or coming frame.

        Default frame: the next one sent. Raises KinemaskError if the stream is over.
        """
        prompt = types.Prompt(points, negative_points, box, mask, object_id, label, frame_id)
        return self.edit(prompt)

    def edit(self, prompt: types.Prompt) -> AsyncPendingEdit:
        """The same with a `Prompt`."""
        return AsyncPendingEdit(self._core.edit(_kinds.live_prompt(prompt)))

    def remove(self, object_id: int, *, frame_id: int | None = None) -> AsyncPendingEdit:
        """Forget an object; it is not detected again under this id."""
        return AsyncPendingEdit(self._core.edit(_kinds.live_remove(object_id, frame_id)))

    def change(
        self,
        stage: config.DetectStage | config.EffectStage | config.CaptionStage,
        *,
        frame_id: int | None = None,
    ) -> AsyncPendingEdit:
        """Look for something else, draw something else, describe otherwise from now on."""
        return AsyncPendingEdit(self._core.edit(_kinds.live_change(stage, frame_id)))


class AsyncVideoStream(AsyncImageStream[results.SegmentedFrame]):
    """SegmenterService.SegmentVideo: frames and prompts in, masks out."""

    def prompt(
        self,
        object_id: int,
        *,
        points: Sequence[types.PointXy] = (),
        negative_points: Sequence[types.PointXy] = (),
        box: types.BoxXyxy | None = None,
        mask: BoolMask | None = None,
        frame_id: int | None = None,
    ) -> AsyncPendingEdit:
        """Add an object under an id of your choice, from 1, or refine it."""
        prompt = types.Prompt(points, negative_points, box, mask, object_id, "", frame_id)
        return self.edit(prompt)

    def edit(self, prompt: types.Prompt) -> AsyncPendingEdit:
        """The same with a `Prompt`."""
        return AsyncPendingEdit(self._core.edit(_kinds.video_prompt(prompt)))

    def remove(self, object_id: int, *, frame_id: int | None = None) -> AsyncPendingEdit:
        """Forget an object from a frame on."""
        return AsyncPendingEdit(self._core.edit(_kinds.video_remove(object_id, frame_id, False)))

    def clear(self, object_id: int, *, frame_id: int | None = None) -> AsyncPendingEdit:
        """Clear what was prompted for an object and forget it and its past."""
        return AsyncPendingEdit(self._core.edit(_kinds.video_remove(object_id, frame_id, True)))

    def clear_frame(self, object_id: int, frame_id: int) -> AsyncPendingEdit:
        """Take back what was prompted for an object on a retained frame, and on that one only."""
        return AsyncPendingEdit(self._core.edit(_kinds.video_clear_frame(object_id, frame_id)))

    async def propagate(
        self, frame_id: int, to_frame_id: int, object_ids: Sequence[int] = ()
    ) -> list[results.SegmentedFrame]:
        """Carry masks over retained frames, backwards if `to_frame_id` is smaller; inclusive.

        Raises:
            KinemaskError: a frame is not retained any more, or the engine cannot.
        """
        steps = self.start_propagation(frame_id, to_frame_id, object_ids)
        return [step async for step in steps]

    def start_propagation(
        self, frame_id: int, to_frame_id: int, object_ids: Sequence[int] = ()
    ) -> AsyncPropagation:
        """The same, frame by frame as they come, and with a way to stop.

        Raises KinemaskError if the stream is over.
        """
        edit = _kinds.video_propagate(frame_id, to_frame_id, object_ids)
        return propagation(self._core, edit)


class AsyncTrackStream(AsyncStream[results.TrackedFrame]):
    """TrackerService.Track: boxes per frame in, tracks out."""

    async def send(
        self,
        detections: Sequence[types.Detection] | None,
        *,
        observations: Sequence[types.Observation] = (),
        frame_id: int | None = None,
        capture_time_us: int | None = None,
    ) -> int:
        """Send a frame's boxes; returns its id. Under policy `block` waits for the window.

        Args:
            detections: what the detector found; None if it did not run on this frame, so that
                absence says nothing.
            observations: boxes whose identity is certain.

        Raises:
            KinemaskError: the stream is over.
            ValueError: an id that does not increase.
        """
        when_us = now_us() if capture_time_us is None else capture_time_us
        frame = _kinds.boxes_frame(detections, observations)
        return await self._core.send(frame, frame_id, when_us)

    def end_tracks(
        self, track_ids: Sequence[int], *, frame_id: int | None = None
    ) -> AsyncPendingEdit:
        """End tracks; their ids do not come again."""
        return AsyncPendingEdit(self._core.edit(_kinds.end_tracks(track_ids, frame_id)))
