"""H.264 encoded in chunks, by several threads or processes, and joined to one clean MP4.

Every chunk begins with a key frame and refers to no other. All encoders are set up alike, so that
all chunks share one set of stream parameters, and what a chunk becomes depends on its frames
alone: not on who encodes it, when, and how many there are.
"""

import contextlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from kinemask.video._audio import AudioCopy
from kinemask.video._color import LIMITED_RANGE
from kinemask.video._encoder import CODEC, PIXEL_FORMAT, EncoderSettings
from kinemask.video._errors import ffmpeg_errors

_MAGIC: Final = b"KMCH\x01"
_HEAD: Final = struct.Struct(">II")  # bytes of parameters, packets
_PACKET: Final = struct.Struct(">q?I")  # pts, key frame, bytes
_MOST_TIMESCALE: Final = 10**8
_THREADS: Final = 3  # always as many: what x264 writes depends on it


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One encoded frame."""

    pts: int
    is_keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """Frames that follow each other, encoded."""

    parameters: bytes
    """What a decoder must know first; equal for chunks that may be joined."""
    packets: tuple[EncodedPacket, ...]
    """In the order of decoding."""

    def to_bytes(self) -> bytes:
        """For storing; `from_bytes` takes it back."""
        parts = [_MAGIC, _HEAD.pack(len(self.parameters), len(self.packets)), self.parameters]
        for packet in self.packets:
            parts += [_PACKET.pack(packet.pts, packet.is_keyframe, len(packet.data)), packet.data]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError for what `to_bytes` did not write."""
        try:
            if data[: len(_MAGIC)] != _MAGIC:
                raise ValueError(f"expected an encoded chunk, got {len(data)} other bytes")
            parameters, count = _HEAD.unpack_from(data, len(_MAGIC))
            at = len(_MAGIC) + _HEAD.size + parameters
            packets = tuple(_unpacked(data, at, count))
        except struct.error as error:
            raise ValueError(f"expected a whole chunk, got {len(data)} bytes") from error
        return cls(data[at - parameters : at], packets)


class ChunkEncoder:
    """Encodes the frames of one chunk, called from one thread."""

    def __init__(self, settings: EncoderSettings, path: Path) -> None:
        """`path` is what errors name."""
        self._path = path
        self._time_base = settings.time_base
        self._context = _context(settings)
        self._packets: list[EncodedPacket] = []

    def encode(self, frame: av.VideoFrame, pts: int, duration: int) -> None:
        """One frame in yuv420p of the encoded size, which it keeps; times in the time base.

        Raises:
            VideoError: it cannot be encoded.
        """
        frame.pts, frame.time_base, frame.duration = pts, self._time_base, duration
        self._take(frame)

    def finish(self) -> EncodedChunk:
        """What was encoded; call it once. Raises VideoError."""
        self._take(None)
        return EncodedChunk(bytes(self._context.extradata or b""), tuple(self._packets))

    def _take(self, frame: av.VideoFrame | None) -> None:
        with ffmpeg_errors(self._path, "cannot be encoded"):
            for packet in self._context.encode(frame):
                assert packet.pts is not None  # it had one as a frame
                self._packets.append(EncodedPacket(packet.pts, packet.is_keyframe, bytes(packet)))


@dataclass(frozen=True, slots=True)
class CopiedAudio:
    """Which packets of whose audio go into the file."""

    source: Path
    first_s: Fraction | None = None
    """With `end_s`: only packets that begin in between, moved so that this becomes 0."""
    end_s: Fraction | None = None


class ChunkJoiner:
    """Writes chunks, in order, into an MP4 (faststart). The file is whole once `finish` returns.

    Args:
        path: the target; its folder holds nothing else of this.
        settings: those that the chunks were encoded with.
        pts: `(N,)` every frame's time in the time base, ascending.
        end_pts: when the last frame ends.
        audio: what to copy; None for silence.

    Raises:
        VideoError: it cannot be written, or the audio cannot be copied.
    """

    def __init__(
        self,
        path: Path,
        settings: EncoderSettings,
        pts: npt.NDArray[np.int64],
        end_pts: int,
        audio: CopiedAudio | None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._pts, self._end_pts = pts, end_pts
        self._written = 0
        self._audio: AudioCopy | None = None
        options = {
            "movflags": "+faststart",
            # Where a stream begins is told in these units, whatever its own.
            "movie_timescale": str(_movie_timescale(settings.time_base, audio)),
        }
        with ffmpeg_errors(path, "cannot be written"):
            self._output = av.open(str(path), "w", format="mp4", options=options)
        try:
            self._begin(audio)
        except BaseException:
            self.close()
            raise

    @property
    def parameters(self) -> bytes:
        """The parameters that every chunk must have."""
        return bytes(self._stream.codec_context.extradata or b"")

    def add(self, chunk: EncodedChunk) -> None:
        """The next chunk.

        Raises:
            VideoError: it cannot be written.
            ValueError: it was encoded otherwise, or there are more frames than times.
        """
        if chunk.parameters != self.parameters:
            raise ValueError("expected a chunk of the same encoder, got one of another")
        with ffmpeg_errors(self._path, "cannot be written"):
            for packet in chunk.packets:
                self._mux(packet)

    def finish(self) -> None:
        """Write the rest of the audio and the index; close the file.

        Raises:
            VideoError: it cannot be written.
            ValueError: there were fewer frames than times.
        """
        if self._written != len(self._pts):
            raise ValueError(f"expected {len(self._pts)} frames, got {self._written}")
        with ffmpeg_errors(self._path, "cannot be finished"):
            if self._audio is not None:
                self._audio.rest()
            self._output.close()
        self.close()

    def close(self) -> None:
        """Close everything, whatever state it is in. Idempotent."""
        with contextlib.suppress(av.error.FFmpegError, OSError):  # it is thrown away anyway
            self._output.close()
        if self._audio is not None:
            self._audio.close()

    def _begin(self, audio: CopiedAudio | None) -> None:
        with ffmpeg_errors(self._path, "cannot be written"):
            stream = self._output.add_stream(CODEC, rate=self._settings.rate)
            assert isinstance(stream, VideoStream)  # by the name of its codec
            # Set up like the chunks' encoders and never used: the muxer takes parameters from it.
            _set_up(stream.codec_context, self._settings)
            self._stream = stream
            if audio is not None:
                self._audio = AudioCopy(audio.source, self._output, audio.first_s, audio.end_s)
            self._output.start_encoding()
            self._delay = stream.codec_context.reorder_depth

    def _mux(self, encoded: EncodedPacket) -> None:
        if self._written >= len(self._pts):
            raise ValueError(f"expected {len(self._pts)} frames, got more")
        place = int(np.searchsorted(self._pts, encoded.pts))
        following = self._pts[place + 1] if place + 1 < len(self._pts) else self._end_pts
        packet = av.Packet(encoded.data)
        packet.stream, packet.time_base = self._stream, self._settings.time_base
        packet.is_keyframe = encoded.is_keyframe
        packet.pts, packet.dts = encoded.pts, self._dts()
        packet.duration = max(int(following) - encoded.pts, 1)
        self._written += 1
        if self._audio is not None:
            self._audio.until(float(packet.dts * packet.time_base))
        self._output.mux_one(packet)

    def _dts(self) -> int:
        """Decoding goes through the times of presentation, as much earlier as frames are moved."""
        place = self._written - self._delay
        if place >= 0:
            return int(self._pts[place])
        return int(self._pts[0]) + place * self._settings.frame_units


def encoder_parameters(settings: EncoderSettings) -> bytes:
    """The parameters that chunks encoded here have."""
    context = _context(settings)
    context.open()
    return bytes(context.extradata or b"")


def _context(settings: EncoderSettings) -> VideoCodecContext:
    context = av.CodecContext.create(CODEC, "w")
    assert isinstance(context, VideoCodecContext)  # by the name of its codec
    _set_up(context, settings)
    context.framerate = settings.rate
    context.flags |= Flags.global_header
    return context


def _set_up(context: VideoCodecContext, settings: EncoderSettings) -> None:
    context.width = settings.width + settings.width % 2
    context.height = settings.height + settings.height % 2
    context.pix_fmt = PIXEL_FORMAT
    context.time_base = settings.time_base
    context.sample_aspect_ratio = settings.pixel_aspect
    context.colorspace = settings.color.matrix
    context.color_primaries = settings.color.primaries
    context.color_trc = settings.color.transfer
    context.color_range = LIMITED_RANGE
    context.options = settings.options
    context.thread_count = _THREADS
    context.flags |= Flags.frame_duration


def _unpacked(data: bytes, at: int, count: int) -> Iterator[EncodedPacket]:
    for _ in range(count):
        pts, is_keyframe, size = _PACKET.unpack_from(data, at)
        at += _PACKET.size
        if at + size > len(data):
            raise ValueError(f"expected a whole chunk, got {len(data)} bytes")
        yield EncodedPacket(pts, is_keyframe, data[at : at + size])
        at += size


def _movie_timescale(time_base: Fraction, audio: CopiedAudio | None) -> int:
    """Units in which the beginning of every stream is exact, where there are such."""
    scales = [time_base.denominator]
    if audio is not None:
        with (
            ffmpeg_errors(audio.source, "its audio cannot be opened"),
            av.open(str(audio.source), "r", metadata_errors="replace") as source,
        ):
            scales += [s.time_base.denominator for s in source.streams.audio if s.time_base]
    common = math.lcm(1000, *scales)
    return common if common <= _MOST_TIMESCALE else time_base.denominator
