"""Streams for ordinary code: the asyncio ones, run by the process's loop thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self

from kinemask import config, results, types
from kinemask.client import _encode
from kinemask.client._async_streams import (
    AsyncImageStream,
    AsyncLiveStream,
    AsyncPendingEdit,
    AsyncStream,
    AsyncTrackStream,
    AsyncVideoStream,
    now_us,
)
from kinemask.client._connection import AnswerT
from kinemask.client._inbox import EditAck
from kinemask.client._loop import LoopThread
from kinemask.client._propagation import Propagation

if TYPE_CHECKING:
    from kinemask.types import BoolMask, ImageLike


class PendingEdit:
    """An edit under way. Ask for its `result`, or let it be: refusals are logged too.

    An edit that names no frame lands on the next one sent, so it is answered only then: send that
    frame before asking.
    """

    def __init__(self, loop: LoopThread, edit: AsyncPendingEdit) -> None:
        self._loop = loop
        self._edit = edit

    def result(self, timeout_s: float | None = None) -> EditAck:
        """Wait for the answer.

        Raises:
            KinemaskError: the edit was refused, or the stream ended before it.
            TimeoutError: no answer came in time; the edit goes on.
        """

        async def answer() -> EditAck:
            return await self._edit

        return self._loop.run(answer(), timeout_s)

    @property
    def done(self) -> bool:
        """True once it is answered."""
        return self._edit.done


class Stream(Generic[AnswerT]):
    """A running stream: send frames, iterate over their answers.

    Opened by `with`, or by its first use. Iterating ends when the stream was finished and
    everything is answered; an error that ends the stream is raised after the answers there are.
    Sending and reading may happen in one thread or in two. One thread that only sends is answered
    in the background until `StreamOptions.max_unread` answers wait to be read; from then on
    `send` waits (policy `block`), and raises when nobody has read for `unread_timeout_s`.
    """

    def __init__(self, loop: LoopThread, stream: AsyncStream[AnswerT]) -> None:
        self._loop = loop
        self._any = stream
        self.request_id = stream.request_id
        """Names the stream in every service's log."""

    @property
    def info(self) -> config.StreamInfo | None:
        """Window, policy and who serves now; None before the stream is open."""
        return self._any.info

    def open(self) -> config.StreamInfo:
        """Wait until the server has taken the stream.

        Raises:
            KinemaskError: it has not.
        """
        return self._loop.run(self._any.open())

    def finish(self) -> None:
        """No frame and no edit comes any more; everything sent is still answered."""
        self._loop.run(self._any.finish())

    def close(self) -> None:
        """End the stream now, whatever is unanswered. Idempotent."""
        self._loop.run(self._any.aclose())

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[AnswerT]:
        while (answer := self._loop.run(self._any.next())) is not None:
            yield answer

    def ready(self) -> Iterator[AnswerT]:
        """The answers that are there already, without waiting."""
        while (answer := self._loop.call(self._any.ready)) is not None:
            yield answer

    def _edit(self, make: Callable[[], AsyncPendingEdit]) -> PendingEdit:
        return PendingEdit(self._loop, self._loop.call(make))


class _ImageStream(Stream[AnswerT]):
    """A stream whose frames are pictures."""

    def __init__(
        self, loop: LoopThread, stream: AsyncImageStream[AnswerT], jpeg_quality: int | None
    ) -> None:
        super().__init__(loop, stream)
        self._images = stream
        self._jpeg_quality = jpeg_quality

    def send(
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
            KinemaskError: the stream is over, or its answers are not read.
            ValueError: not a picture, or an id that does not increase.
        """
        when_us = now_us() if capture_time_us is None else capture_time_us
        message = _encode.image(image, self._jpeg_quality)  # in the caller's thread
        return self._loop.run(self._images.send_encoded(message, frame_id, when_us))


class LiveStream(_ImageStream[results.LiveFrame]):
    """LiveService.Stream: frames in, objects with masks and identities out."""

    def __init__(self, loop: LoopThread, stream: AsyncLiveStream, jpeg_quality: int | None) -> None:
        super().__init__(loop, stream, jpeg_quality)
        self._live = stream

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
    ) -> PendingEdit:
        """Add an object (id 0: the gateway picks one), or refine one, on a recent or coming frame.

        Default frame: the next one sent. Raises KinemaskError if the stream is over.
        """
        return self.edit(
            types.Prompt(points, negative_points, box, mask, object_id, label, frame_id)
        )

    def edit(self, prompt: types.Prompt) -> PendingEdit:
        """The same with a `Prompt`."""
        return self._edit(lambda: self._live.edit(prompt))

    def remove(self, object_id: int, *, frame_id: int | None = None) -> PendingEdit:
        """Forget an object; it is not detected again under this id."""
        return self._edit(lambda: self._live.remove(object_id, frame_id=frame_id))

    def change(
        self,
        stage: config.DetectStage | config.EffectStage | config.CaptionStage,
        *,
        frame_id: int | None = None,
    ) -> PendingEdit:
        """Look for something else, draw something else, describe otherwise from now on."""
        return self._edit(lambda: self._live.change(stage, frame_id=frame_id))


class VideoStream(_ImageStream[results.SegmentedFrame]):
    """SegmenterService.SegmentVideo: frames and prompts in, masks out."""

    def __init__(
        self, loop: LoopThread, stream: AsyncVideoStream, jpeg_quality: int | None
    ) -> None:
        super().__init__(loop, stream, jpeg_quality)
        self._video = stream

    def prompt(
        self,
        object_id: int,
        *,
        points: Sequence[types.PointXy] = (),
        negative_points: Sequence[types.PointXy] = (),
        box: types.BoxXyxy | None = None,
        mask: BoolMask | None = None,
        frame_id: int | None = None,
    ) -> PendingEdit:
        """Add an object under an id of your choice, from 1, or refine it."""
        return self.edit(types.Prompt(points, negative_points, box, mask, object_id, "", frame_id))

    def edit(self, prompt: types.Prompt) -> PendingEdit:
        """The same with a `Prompt`."""
        return self._edit(lambda: self._video.edit(prompt))

    def remove(self, object_id: int, *, frame_id: int | None = None) -> PendingEdit:
        """Forget an object from a frame on."""
        return self._edit(lambda: self._video.remove(object_id, frame_id=frame_id))

    def clear(self, object_id: int, *, frame_id: int | None = None) -> PendingEdit:
        """Clear what was prompted for an object and forget it and its past."""
        return self._edit(lambda: self._video.clear(object_id, frame_id=frame_id))

    def clear_frame(self, object_id: int, frame_id: int) -> PendingEdit:
        """Take back what was prompted for an object on a retained frame, and on that one only."""
        return self._edit(lambda: self._video.clear_frame(object_id, frame_id))

    def propagate(
        self, frame_id: int, to_frame_id: int, object_ids: Sequence[int] = ()
    ) -> list[results.SegmentedFrame]:
        """Carry masks over retained frames, backwards if `to_frame_id` is smaller; inclusive.

        Raises:
            KinemaskError: a frame is not retained any more, or the engine cannot.
        """
        return self._loop.run(self._video.propagate(frame_id, to_frame_id, object_ids))

    def start_propagation(
        self, frame_id: int, to_frame_id: int, object_ids: Sequence[int] = ()
    ) -> Propagation:
        """The same, frame by frame as they come, and with a way to stop.

        Raises KinemaskError if the stream is over.
        """
        started = self._loop.call(
            lambda: self._video.start_propagation(frame_id, to_frame_id, object_ids)
        )
        return Propagation(self._loop, started)


class TrackStream(Stream[results.TrackedFrame]):
    """TrackerService.Track: boxes per frame in, tracks out."""

    def __init__(self, loop: LoopThread, stream: AsyncTrackStream) -> None:
        super().__init__(loop, stream)
        self._tracks = stream

    def send(
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
            KinemaskError: the stream is over, or its answers are not read.
            ValueError: an id that does not increase.
        """
        return self._loop.run(
            self._tracks.send(
                detections,
                observations=observations,
                frame_id=frame_id,
                capture_time_us=capture_time_us,
            )
        )

    def end_tracks(self, track_ids: Sequence[int], *, frame_id: int | None = None) -> PendingEdit:
        """End tracks; their ids do not come again."""
        return self._edit(lambda: self._tracks.end_tracks(track_ids, frame_id=frame_id))
