"""The one error of the video package, and how FFmpeg's become it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error


class VideoError(Exception):
    """A video that cannot be read or written. The message starts with the file's name."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path.name}: {what}")
        self.path = path


@contextmanager
def ffmpeg_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn FFmpeg's and the file system's errors into a VideoError about `path`."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise VideoError(path, f"{doing}: {reason}") from error
