"""Frames from anywhere in a file, exactly, by its index."""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path

import av
import av.container
import numpy as np
from av.video.stream import VideoStream

from kinemask.images import DEFAULT_MAX_PIXELS
from kinemask.video._errors import VideoError, ffmpeg_errors
from kinemask.video._index import FrameIndex
from kinemask.video._info import VideoFrame, VideoInfo
from kinemask.video._planar import PlanarFrame, planar_frame
from kinemask.video._prefetch import prefetch
from kinemask.video._reader import VideoReader, _opened, _video_stream


class FrameDamagedError(VideoError):
    """A frame that cannot be decoded, or only with errors."""

    def __init__(self, path: Path, frame_index: int, why: str) -> None:
        super().__init__(path, f"frame {frame_index} is damaged: {why}")
        self.frame_index = frame_index


class IndexedReader:
    """Any frame or range of a file; decoding begins at the nearest key frame before it.

    Nothing stays open between two calls, so several threads may use one reader.

    Args:
        path: the file.
        index: made by `index_video` of this very file.
        max_pixels, prefetch_frames, exact_color: as for `VideoReader`.
        conceal: True gives frames that decode with errors as the decoder mends them.

    Raises:
        VideoError: as for `VideoReader`.
    """

    def __init__(
        self,
        path: str | Path,
        index: FrameIndex,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        prefetch_frames: int = 4,
        exact_color: bool = False,
        conceal: bool = False,
    ) -> None:
        self._path = Path(path)
        self._prefetch_frames = prefetch_frames
        self._conceal = conceal
        self.index = index
        self._reader = VideoReader(path, max_pixels=max_pixels, exact_color=exact_color)

    @property
    def info(self) -> VideoInfo:
        """What the file says about itself."""
        return self._reader.info

    def frame(self, frame_index: int) -> VideoFrame:
        """One frame.

        Raises:
            IndexError: there is no such frame.
            FrameDamagedError: it cannot be decoded.
        """
        found = self._frames(frame_index, frame_index)
        try:
            return next(found)
        finally:
            found.close()

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[VideoFrame]:
        """Frames `first` to `last`, both included; None: to the end.

        Raises:
            IndexError: there is no such frame, or the last is before the first.
            FrameDamagedError: while iterating, after the frames before it.
        """
        last = self.index.frame_count - 1 if last is None else last
        if not 0 <= first <= last < self.index.frame_count:
            raise IndexError(f"frames {first}..{last}: there are {self.index.frame_count}")
        frames = self._frames(first, last)
        return prefetch(frames, self._prefetch_frames) if self._prefetch_frames else frames

    def planar_frames(
        self, first: int, last: int, *, reuse: int = 0
    ) -> Iterator[PlanarFrame | None]:
        """Frames `first` to `last`, both included, as planes; errors are mended by the decoder.

        None stands for a frame that cannot be decoded at all. Decodes in the caller's thread. With
        `reuse` a frame is good until so many others have come, whose memory is then used again.
        """
        wanted, used = first, deque[PlanarFrame](maxlen=max(reuse, 1))
        for number, frame in self._decoded_from(first):
            while wanted < min(number, last + 1):
                yield None
                wanted += 1
            if wanted > last:
                return
            if number == wanted:
                full = reuse and len(used) == reuse
                orientation = self._reader.orientations.of(frame)
                memory = used[0] if full else None
                found = planar_frame(number, frame, self.info, orientation, memory)
                used.append(found)
                yield found
                wanted += 1
        yield from (None for _ in range(wanted, last + 1))

    def damaged(
        self, first: int = 0, last: int | None = None, *, stopped: threading.Event | None = None
    ) -> list[int]:
        """Decode frames `first` to `last` and give those that cannot be, or only with errors.

        Once `stopped` is set it returns at once, and what it gives is of no use.
        """
        last = self.index.frame_count - 1 if last is None else last
        whole = np.zeros(last - first + 1, bool)
        for number, frame in self._decoded_from(first):
            if number > last or (stopped is not None and stopped.is_set()):
                break
            if number >= first:
                whole[number - first] = not frame.is_corrupt
        return [first + int(offset) for offset in np.flatnonzero(~whole)]

    def _frames(self, first: int, last: int) -> Generator[VideoFrame, None, None]:
        if not 0 <= first < self.index.frame_count:
            raise IndexError(f"frame {first}: there are {self.index.frame_count}")
        wanted = first
        for number, frame in self._decoded_from(first):
            if number < wanted:
                continue
            if number > wanted:
                raise FrameDamagedError(self._path, wanted, "nothing could be decoded")
            if frame.is_corrupt and not self._conceal:
                raise FrameDamagedError(self._path, number, "parts of it are missing")
            pts = int(self.index.pts[number])
            yield VideoFrame(
                number,
                pts,
                frame.duration or None,
                float(pts * self.index.time_base),
                self._reader.upright_rgb(frame),
            )
            wanted += 1
            if wanted > last:
                return
        raise FrameDamagedError(self._path, wanted, "the file ends before it")

    def _decoded_from(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their numbers, beginning at or before `first`."""
        if not self.index.seekable:
            yield from self._counted()
            return
        start = self.index.keyframe_for(first)
        while True:
            numbered = self._decoded_at(start)
            head = next(numbered, None)
            if head is not None and (head[0] <= first or start == 0):
                yield head
                yield from numbered
                return
            numbered.close()
            if start == 0:
                return
            # The container sought too far: it goes by other times than those frames are shown at.
            start = self.index.keyframe_for(start - 1)

    def _decoded_at(self, start: int) -> Generator[tuple[int, av.VideoFrame], None, None]:
        with _opened(self._path) as container:
            stream = _video_stream(container, self._path)
            if start > 0:
                with ffmpeg_errors(self._path, f"frame {start} cannot be sought"):
                    container.seek(int(self.index.pts[start]), stream=stream)
            for frame in self._decoded(container, stream):
                pts = frame.pts if frame.pts is not None else frame.dts
                number = int(np.searchsorted(self.index.pts, pts or 0))
                if number < self.index.frame_count and int(self.index.pts[number]) == pts:
                    yield number, frame

    def _counted(self) -> Iterator[tuple[int, av.VideoFrame]]:
        with _opened(self._path) as container:
            stream = _video_stream(container, self._path)
            yield from enumerate(self._decoded(container, stream))

    def _decoded(
        self, container: av.container.InputContainer, stream: VideoStream
    ) -> Iterator[av.VideoFrame]:
        """What can be decoded; packets that cannot are passed over."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except av.error.InvalidDataError:
                continue
            except av.error.FFmpegError as error:
                raise VideoError(self._path, f"cannot be decoded: {error.strerror}") from error
            if packet is None:
                return
            yield from frames
