"""x264 and the MP4 muxer behind three calls: encode, finish, discard."""

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error
from av.codec.context import Flags
from av.video.stream import VideoStream

from kinemask.video._audio import AudioCopy
from kinemask.video._color import EXACT, LIMITED_RANGE, ColorTags
from kinemask.video._errors import VideoError, ffmpeg_errors

CODEC: Final = "libx264"
PIXEL_FORMAT: Final = "yuv420p"
PRESETS: Final = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What is to be encoded and how."""

    width: int
    """Pixels of the frames given; the encoded size is the next even one."""
    height: int
    """Pixels of the frames given."""
    rate: Fraction
    """Frames per second on average."""
    time_base: Fraction
    """Seconds per unit of pts."""
    color: ColorTags
    """How samples are made from RGB, and what the file says about it."""
    pixel_aspect: Fraction
    """Width over height of a displayed pixel."""
    crf: int
    """x264's constant rate factor, 0..51."""
    preset: str
    """x264's speed preset."""

    @property
    def frame_units(self) -> int:
        """One average frame in units of the time base, at least 1."""
        return max(round(1 / (self.rate * self.time_base)), 1)

    @property
    def options(self) -> dict[str, str]:
        """For libx264. Without `cpu-independent` the same frames become other bytes on other CPUs,
        and, in small videos, from one time to the next."""
        parameters = "cpu-independent=1"
        return {"crf": str(self.crf), "preset": self.preset, "x264-params": parameters}


class Mp4Encoder:
    """One output file being written at `part`; errors name `path`. Not thread-safe."""

    def __init__(
        self,
        path: Path,
        part: Path,
        container_format: str,
        settings: EncoderSettings,
        audio_from: Path | None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._audio: AudioCopy | None = None
        with ffmpeg_errors(path, "cannot be written"):
            self._output = av.open(
                str(part), "w", format=container_format, options={"movflags": "+faststart"}
            )
        try:
            self._stream = self._added_stream()
            if audio_from is not None:
                self._audio = AudioCopy(audio_from, self._output)
        except BaseException:
            self.discard()
            raise

    def encode(self, frame: av.VideoFrame) -> None:
        """One RGB frame of even size, with its pts."""
        color = self._settings.color
        with ffmpeg_errors(self._path, "cannot be encoded"):
            samples = frame.reformat(
                format=PIXEL_FORMAT,
                dst_colorspace=color.matrix,
                dst_color_range=LIMITED_RANGE,
                interpolation=EXACT,
            )
            samples.pts, samples.time_base = frame.pts, frame.time_base
            samples.duration = frame.duration
            self._mux(samples)

    def finish(self) -> None:
        """Write what the encoder holds, the rest of the audio and the index; close the file."""
        with ffmpeg_errors(self._path, "cannot be finished"):
            self._mux(None)
            if self._audio is not None:
                self._audio.rest()
            self._output.close()
        self._close_audio()

    def discard(self) -> None:
        """Close everything, whatever state it is in."""
        with contextlib.suppress(av.error.FFmpegError, OSError):  # it is thrown away anyway
            self._output.close()
        self._close_audio()

    def _mux(self, samples: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(samples):
            if self._audio is not None and packet.dts is not None:
                self._audio.until(float(packet.dts * packet.time_base))
            self._output.mux_one(packet)

    def _close_audio(self) -> None:
        if self._audio is not None:
            self._audio.close()

    def _added_stream(self) -> VideoStream:
        settings = self._settings
        try:
            stream = self._output.add_stream(CODEC, rate=settings.rate, options=settings.options)
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(self._path, f"this PyAV has no {CODEC} encoder: {error}") from error
        assert isinstance(stream, VideoStream)  # by the name of its codec
        context = stream.codec_context
        context.width = settings.width + settings.width % 2
        context.height = settings.height + settings.height % 2
        context.pix_fmt = PIXEL_FORMAT
        context.time_base = settings.time_base
        context.sample_aspect_ratio = settings.pixel_aspect
        context.colorspace = settings.color.matrix
        context.color_primaries = settings.color.primaries
        context.color_trc = settings.color.transfer
        context.color_range = LIMITED_RANGE
        context.flags |= Flags.frame_duration  # keeps the last frame's duration
        return stream
