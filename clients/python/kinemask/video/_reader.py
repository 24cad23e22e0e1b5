"""Reading a video file: what it is, and its frames one by one."""

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.container
import av.error
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream

from kinemask.images import DEFAULT_MAX_PIXELS, Image
from kinemask.video._color import EXACT, FAST, complete_tags
from kinemask.video._errors import VideoError, ffmpeg_errors
from kinemask.video._info import VideoFrame, VideoInfo
from kinemask.video._length import missing_bytes
from kinemask.video._orientation import Orientations, orientation_of
from kinemask.video._prefetch import prefetch

_MICROSECONDS: Final = 1_000_000


def probe_video(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> VideoInfo:
    """Open a video, decode its first frame, and say what it is. Errors as `VideoReader`."""
    return VideoReader(path, max_pixels=max_pixels).info


class VideoReader:
    """The frames of a video file, in presentation order, upright, as RGB.

    Every iteration starts at the first frame with a file handle of its own, so that a reader may
    be iterated twice, or by two threads, and holds nothing open in between.

    Timestamps are the file's (variable frame rates stay variable); where a broken file repeats one
    or goes back, the frame is put one unit after the one before. More than 8 bits are reduced to 8;
    HDR is not tone-mapped.

    Args:
        path: the file.
        max_pixels: width * height above which a video is refused.
        prefetch_frames: frames decoded ahead in a thread; 0 decodes in the reader's thread.
        exact_color: round the colour conversion exactly instead of truncating it (a level of 255
            brighter on average; 4 ms instead of 0.3 ms for a 1280x720 frame).

    Raises:
        VideoError: no such file, empty, not a video, without a video stream, over the pixel limit
            or damaged before its first frame; while iterating: damaged or cut short further on,
            after all the frames before the damage.
    """

    info: VideoInfo

    def __init__(
        self,
        path: str | Path,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        prefetch_frames: int = 4,
        exact_color: bool = False,
    ) -> None:
        if prefetch_frames < 0:
            raise ValueError(f"expected prefetch_frames of 0 or more, found {prefetch_frames}")
        self._path = Path(path)
        self._prefetch_frames = prefetch_frames
        self._interpolation = EXACT if exact_color else FAST
        self.orientations = Orientations()
        self.info = _probe(self._path, max_pixels)

    def __iter__(self) -> Iterator[VideoFrame]:
        frames = self._frames()
        return prefetch(frames, self._prefetch_frames) if self._prefetch_frames else frames

    def _frames(self) -> Generator[VideoFrame, None, None]:
        last_pts: int | None = None
        decoded = _decoded_frames(self._path)
        for index, frame in enumerate(decoded):
            pts = self._pts_after(last_pts, frame)
            with ffmpeg_errors(self._path, f"frame {index} cannot be converted"):
                image = self.upright_rgb(frame)
            time_s = float(pts * self.info.time_base)
            yield VideoFrame(index, pts, frame.duration or None, time_s, image)
            last_pts = pts

    def upright_rgb(self, frame: av.VideoFrame) -> Image:
        """A decoded frame of this file as `(H, W, 3)` uint8 RGB of the size in `info`."""
        # A stream may change its size midway; every image keeps the first one's.
        width, height = self.info.width, self.info.height
        orientation = self.orientations.of(frame)
        if orientation.transpose:
            width, height = height, width
        stored = frame.to_ndarray(
            format="rgb24",
            width=width,
            height=height,
            src_colorspace=self.info.color.matrix,
            interpolation=self._interpolation,
        )
        return orientation.apply(np.asarray(stored, np.uint8))

    def _pts_after(self, last_pts: int | None, frame: av.VideoFrame) -> int:
        pts = frame.pts if frame.pts is not None else frame.dts
        if last_pts is None:
            return pts or 0
        if pts is None:  # raw streams carry no times: go by the average rate
            step = 1 / ((self.info.average_rate or 25) * self.info.time_base)
            return last_pts + max(round(step), 1)
        return max(pts, last_pts + 1)


def _probe(path: Path, max_pixels: int) -> VideoInfo:
    with _opened(path) as container:
        stream = _video_stream(container, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise VideoError(path, f"{width}x{height} pixels, the limit is {max_pixels} in all")
        with ffmpeg_errors(path, "its first frame cannot be decoded"):
            first = next(container.decode(stream), None)
        if first is None:
            raise VideoError(path, "it has no frames")
        return _describe(path, container, stream, first)


def _describe(
    path: Path, container: av.container.InputContainer, stream: VideoStream, first: av.VideoFrame
) -> VideoInfo:
    orientation = orientation_of(first)
    size, aspect = (first.width, first.height), stream.sample_aspect_ratio or Fraction(1)
    if orientation.transpose:
        size, aspect = size[::-1], 1 / aspect
    return VideoInfo(
        path=path,
        width=size[0],
        height=size[1],
        average_rate=stream.average_rate or stream.guessed_rate or None,
        frame_count=stream.frames or None,
        duration_s=_duration_s(container, stream),
        time_base=stream.time_base or Fraction(1, _MICROSECONDS),
        has_audio=bool(container.streams.audio),
        rotation=orientation.rotation,
        codec=stream.codec_context.name,
        pixel_aspect=aspect,
        color=complete_tags(first.height, first.colorspace, first.color_primaries, first.color_trc),
    )


def _opened(path: Path) -> av.container.InputContainer:
    if not path.is_file():
        raise VideoError(path, "no such file" if not path.exists() else "not a file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty")
    with ffmpeg_errors(path, "cannot be opened as a video"):
        return av.open(str(path), "r", metadata_errors="replace")


def _video_stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    unknown = 0
    for stream in container.streams.video:
        if stream.codec_context is None:  # against its stub: FFmpeg has no decoder for it
            unknown += 1
        elif not stream.disposition & Disposition.attached_pic:  # the cover of a song
            stream.thread_type = "AUTO"
            return stream
    if unknown:
        raise VideoError(path, "its video codec is unknown")
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise VideoError(path, f"expected a video stream, found {kinds}")


def _duration_s(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / _MICROSECONDS if container.duration else None


def _decoded_frames(path: Path) -> Generator[av.VideoFrame, None, None]:
    """FFmpeg's frames, with its errors and a quietly missing end turned into VideoError."""
    count = 0
    with _opened(path) as container:
        stream = _video_stream(container, path)
        packets = container.demux(stream)
        while True:
            with ffmpeg_errors(path, f"damaged or cut short after {count} frames"):
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            if packet is None:
                break
            for frame in frames:
                count += 1
                yield frame
    missing = missing_bytes(path)
    if missing:
        raise VideoError(path, f"cut short after {count} frames: {missing} bytes are missing")
