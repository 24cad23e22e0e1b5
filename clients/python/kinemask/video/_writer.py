"""Writing H.264 in MP4, all or nothing."""

import secrets
import threading
from fractions import Fraction
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Self

import av
import av.error
import cv2
import numpy as np

from kinemask.images import Image
from kinemask.video._color import UNSPECIFIED, complete_tags
from kinemask.video._encoder import PRESETS, EncoderSettings, Mp4Encoder
from kinemask.video._errors import VideoError
from kinemask.video._info import VideoInfo

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}


class VideoWriter:
    """Encodes frames to H.264 (yuv420p, faststart) that browsers play.

    The file appears at `path` when `close` returns and not before: everything goes to a hidden
    `.NAME.XXXX.part` beside it, which is renamed at the end and removed on any error or Ctrl-C (a
    killed process leaves only the `.part`). Metadata of the source, such as its place of recording,
    is not carried over.

    Timestamps are written as they are given, in `like`'s time base: a variable frame rate stays
    one, and audio copied from the same source stays in step. H.264 4:2:0 needs even sizes, so an
    odd width or height grows by one pixel that repeats the last column or row. Colours are tagged
    as `like`'s, in limited range. Encoding runs in a thread behind a bounded queue.

    Use it as a context manager: leaving it normally closes, leaving it by an exception aborts.

    Args:
        path: the target, ending in .mp4, .m4v or .mov; replaced if it exists.
        like: size, time base, rate, colours and pixel aspect of the source.
        width, height, fps: in place of `like`, for frames from elsewhere.
        audio_from: a file whose audio streams are copied packet by packet; None for silence.
        crf: x264's quality, 0 (lossless) .. 51; 18 is hard to tell from the source.
        preset: x264's speed, ultrafast .. veryslow.
        queue_frames: frames that may wait for the encoder before `write` blocks.

    Raises:
        ValueError: neither `like` nor all of width, height and fps, or a value out of range.
        VideoError: the target cannot be written, or the audio cannot be copied.
    """

    def __init__(
        self,
        path: str | Path,
        like: VideoInfo | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | Fraction | None = None,
        audio_from: str | Path | None = None,
        crf: int = 18,
        preset: str = "veryfast",
        queue_frames: int = 4,
    ) -> None:
        self._path = Path(path)
        settings = _settings(like, width, height, fps, crf, preset)
        self._size = (settings.height, settings.width)
        self._frame_units = settings.frame_units
        self._time_base = settings.time_base
        container_format = _FORMATS.get(self._path.suffix.lower())
        if container_format is None:
            raise ValueError(f"expected a target in {', '.join(_FORMATS)}, found {self._path.name}")
        if not self._path.parent.is_dir():
            raise VideoError(self._path, f"no such folder: {self._path.parent}")
        self._part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.part")
        self._last_pts: int | None = None
        self._error: BaseException | None = None
        self._finished = False
        self._queue: Queue[av.VideoFrame | None] = Queue(max(queue_frames, 1))
        audio = None if audio_from is None else Path(audio_from)
        try:
            self._encoder = Mp4Encoder(self._path, self._part, container_format, settings, audio)
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise
        self._thread = threading.Thread(target=self._work, name="kinemask-encode", daemon=True)
        self._thread.start()

    def write(self, image: Image, pts: int | None = None, duration: int | None = None) -> None:
        """Queue one frame; the image is copied and may be changed afterwards.

        Args:
            image: `(H, W, 3)` uint8 RGB of the writer's size.
            pts: presentation time in units of the time base; one frame after the last when None.
            duration: in the same units; only the last frame's shows, as the video's end.

        Raises:
            ValueError: another shape or dtype, or a pts that does not come after the last.
            VideoError: the encoder failed, at this frame or one before.
        """
        self._raise_error()
        if self._finished:
            raise VideoError(self._path, "it is closed already")
        if image.shape != (*self._size, 3) or image.dtype != np.uint8:
            height, width = self._size
            raise ValueError(
                f"expected an image of ({height}, {width}, 3) uint8, "
                f"found {image.shape} {image.dtype}"
            )
        pts = self._checked_pts(pts)
        frame = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
        frame.pts, frame.time_base = pts, self._time_base
        frame.duration = duration or self._frame_units
        self._queue.put(frame)
        self._last_pts = pts

    def close(self) -> None:
        """Finish the file and put it in its place.

        Raises:
            VideoError: nothing was written, or the encoder failed; the target is untouched.
        """
        if self._finished:
            return
        try:
            self._join()
            self._raise_error()
            if self._last_pts is None:
                raise VideoError(self._path, "no frames were written")
            self._encoder.finish()
            self._part.replace(self._path)
            self._finished = True
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: nothing appears at the target, nothing stays beside it. Safe after `close`."""
        if self._finished:
            return
        self._finished = True
        self._join()
        self._encoder.discard()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _checked_pts(self, pts: int | None) -> int:
        if pts is None:
            return 0 if self._last_pts is None else self._last_pts + self._frame_units
        if self._last_pts is not None and pts <= self._last_pts:
            raise ValueError(f"expected a pts after {self._last_pts}, found {pts}")
        return pts

    def _work(self) -> None:
        while (frame := self._queue.get()) is not None:
            if self._error is None:  # after an error the queue is only emptied
                try:
                    self._encoder.encode(frame)
                except BaseException as error:  # noqa: BLE001 - raised in the writer's thread
                    self._error = error

    def _join(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _settings(
    like: VideoInfo | None,
    width: int | None,
    height: int | None,
    fps: float | Fraction | None,
    crf: int,
    preset: str,
) -> EncoderSettings:
    if not 0 <= crf <= 51:
        raise ValueError(f"expected a crf of 0..51, found {crf}")
    if preset not in PRESETS:
        raise ValueError(f"expected a preset of {', '.join(PRESETS)}, found {preset!r}")
    if like is not None:
        if (width, height, fps) != (None, None, None):
            raise ValueError("expected either like or width, height and fps, found both")
        rate = like.average_rate or Fraction(25)
        return EncoderSettings(
            like.width,
            like.height,
            rate,
            like.time_base,
            like.color,
            like.pixel_aspect,
            crf,
            preset,
        )
    if not (width and height and fps) or min(width, height, fps) <= 0:
        raise ValueError(f"expected width, height and fps over 0, found {width}, {height}, {fps}")
    rate = Fraction(fps).limit_denominator(1001)
    color = complete_tags(height, UNSPECIFIED, UNSPECIFIED, UNSPECIFIED)
    return EncoderSettings(width, height, rate, 1 / rate, color, Fraction(1), crf, preset)


def _even(image: Image) -> Image:
    """Repeat the last row or column of an odd size."""
    bottom, right = image.shape[0] % 2, image.shape[1] % 2
    if not (bottom or right):
        return np.ascontiguousarray(image)
    return np.asarray(
        cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8
    )
