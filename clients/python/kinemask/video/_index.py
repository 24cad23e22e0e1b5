"""Where every frame of a file is: its time, and the key frame that decoding it has to begin at."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from kinemask.video._errors import VideoError
from kinemask.video._reader import _opened, _video_stream

_MAGIC: Final = b"KMFI\x01"
_HEAD: Final = struct.Struct(">?qqqIQ")  # seekable, time base, end, key frames, frames
_USUAL_FPS: Final = 25


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Every frame's time, and which frames can be decoded without another.

    Invariants: `pts` is strictly increasing; `keyframes` is ascending, and each is less than
    `frame_count`.
    """

    pts: NDArray[np.int64]
    """`(frame_count,)` presentation times, in units of `time_base`."""
    keyframes: NDArray[np.int64]
    """`(K,)` indices of the key frames."""
    time_base: Fraction
    """Seconds per unit."""
    end_pts: int
    """When the last frame ends, in the same units."""
    seekable: bool
    """False for files without usable times: a frame is found by counting from the first."""

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    def time_us(self, frame_index: int) -> int:
        """When a frame is shown, in microseconds from the first frame."""
        units = int(self.pts[frame_index] - self.pts[0])
        return round(units * self.time_base * 1_000_000)

    @property
    def duration_us(self) -> int:
        """From the first frame to the end of the last, in microseconds."""
        return round((self.end_pts - int(self.pts[0])) * self.time_base * 1_000_000)

    def frame_at(self, time_us: int) -> int | None:
        """The frame that is shown at a time from the first frame; None before or after them all."""
        if not 0 <= time_us < max(self.duration_us, 1):
            return None
        # The exact moment at which a frame begins must find that frame, rounded or not.
        units = (Fraction(time_us) + Fraction(1, 2)) / 1_000_000 / self.time_base
        found = np.searchsorted(self.pts, int(self.pts[0]) + int(units), side="right") - 1
        return int(found)

    def keyframe_for(self, frame_index: int) -> int:
        """The last key frame at or before a frame; 0 where there is none."""
        found = int(np.searchsorted(self.keyframes, frame_index, side="right")) - 1
        return int(self.keyframes[found]) if found >= 0 else 0

    @property
    def has_variable_rate(self) -> bool:
        """True if frames do not last equally long, give or take a unit of the time base."""
        steps = np.diff(self.pts)
        return len(steps) > 1 and int(steps.max() - steps.min()) > max(2, int(steps.mean()) // 50)

    def to_bytes(self) -> bytes:
        """For storing; `from_bytes` takes it back."""
        base = self.time_base
        head = _HEAD.pack(
            self.seekable,
            base.numerator,
            base.denominator,
            self.end_pts,
            len(self.keyframes),
            len(self.pts),
        )
        return b"".join(
            (_MAGIC, head, self.keyframes.astype(">i8").tobytes(), self.pts.astype(">i8").tobytes())
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError for what `to_bytes` did not write."""
        at = len(_MAGIC) + _HEAD.size
        if data[: len(_MAGIC)] != _MAGIC or len(data) < at:
            raise ValueError(f"expected a frame index, got {len(data)} other bytes")
        seekable, top, bottom, end, keys, count = _HEAD.unpack_from(data, len(_MAGIC))
        if len(data) != at + 8 * (keys + count):
            raise ValueError(f"expected {at + 8 * (keys + count)} bytes, got {len(data)}")
        numbers = np.frombuffer(data, ">i8", offset=at).astype(np.int64)
        return cls(numbers[keys:], numbers[:keys], Fraction(top, bottom), end, seekable)


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file's index, and what went wrong on the way through it."""

    index: FrameIndex
    damage: str
    """What the demuxer said where it had to stop; empty if it reached the end."""


def index_video(path: str | Path) -> IndexedFile:
    """Read through a file without decoding it, and note every frame.

    Raises:
        VideoError: it cannot be opened as a video, or has no frames.
    """
    path = Path(path)
    pts: list[int | None] = []
    keys: list[int] = []
    longest_end = 0
    damage = ""
    with _opened(path) as container:
        stream = _video_stream(container, path)
        base = stream.time_base or Fraction(1, 1_000_000)
        step = round(1 / ((stream.average_rate or _USUAL_FPS) * base)) or 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                damage = error.strerror or str(error)
                break
            if packet is None:
                break
            if packet.size and not packet.is_discard:  # the last one of all is empty
                if packet.is_keyframe:
                    keys.append(len(pts))
                pts.append(packet.pts)
                longest_end = max(longest_end, (packet.pts or 0) + (packet.duration or step))
    if not pts:
        raise VideoError(path, "it has no frames")
    return IndexedFile(_arranged(pts, keys, base, longest_end, step), damage)


def _arranged(
    pts: list[int | None], keys: list[int], base: Fraction, end_pts: int, step: int
) -> FrameIndex:
    """Decoding order to the order of presentation; by counting where times are of no use."""
    known = [time for time in pts if time is not None]
    if len(known) < len(pts) or len(set(known)) < len(pts):
        counted = np.arange(len(pts), dtype=np.int64) * step
        return FrameIndex(counted, np.array(keys, np.int64), base, len(pts) * step, False)
    times = np.array(known, np.int64)
    order = np.argsort(times)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return FrameIndex(times[order], np.sort(position[keys]), base, end_pts, True)
