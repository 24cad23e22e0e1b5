"""Audio packets carried from a source file into an output, as they are."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from kinemask.video._errors import VideoError, ffmpeg_errors


class AudioCopy:
    """Every audio stream of `source`, remuxed without decoding.

    Made before the output's header is written; then `until` keeps the audio level with the video,
    so that the muxer never has to hold more than a moment of either.
    """

    def __init__(
        self,
        source: Path,
        output: av.container.OutputContainer,
        first_s: Fraction | None = None,
        end_s: Fraction | None = None,
    ) -> None:
        """By default all of it. Given times, the packets that begin in [first_s, end_s), moved so
        that first_s becomes 0."""
        self._first_s, self._end_s = first_s, end_s
        with ffmpeg_errors(source, "its audio cannot be opened"):
            self._input = av.open(str(source), "r", metadata_errors="replace")
        try:
            self._streams = {
                stream.index: _added(output, stream, source) for stream in self._input.streams.audio
            }
        except BaseException:
            self._input.close()
            raise
        self._source = source
        self._output = output
        self._packets = self._demuxed()
        self._next = next(self._packets, None)

    def until(self, time_s: float) -> None:
        """Write what is to be heard before `time_s` on the source's clock."""
        while self._next is not None and _start_s(self._next) < time_s:
            self._write(self._next)

    def rest(self) -> None:
        """Write all that is left."""
        while self._next is not None:
            self._write(self._next)

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def _write(self, packet: "Packet[Stream]") -> None:
        packet.stream = self._streams[packet.stream_index]
        self._output.mux_one(packet)
        self._next = next(self._packets, None)

    def _demuxed(self) -> Iterator["Packet[Stream]"]:
        if not self._streams:
            return
        with ffmpeg_errors(self._source, "its audio is damaged or cut short"):
            for packet in self._input.demux(*self._input.streams.audio):
                # A demuxer's flush packet has no time.
                if packet.dts is not None and self._is_wanted(packet):
                    self._move(packet)
                    yield packet

    def _is_wanted(self, packet: "Packet[Stream]") -> bool:
        start_s = (packet.dts or 0) * packet.time_base
        return not (
            (self._first_s is not None and start_s < self._first_s)
            or (self._end_s is not None and start_s >= self._end_s)
        )

    def _move(self, packet: "Packet[Stream]") -> None:
        if self._first_s:
            units = round(self._first_s / packet.time_base)
            packet.dts = (packet.dts or 0) - units
            packet.pts = None if packet.pts is None else packet.pts - units


def _added(output: av.container.OutputContainer, stream: AudioStream, source: Path) -> AudioStream:
    # Against its stub, a stream that FFmpeg has no decoder for has no context.
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    if codec not in output.supported_codecs:
        raise VideoError(
            source,
            f"its {codec} audio cannot be copied into {output.format.name}; "
            "convert it to AAC first, or leave the audio out",
        )
    return output.add_stream_from_template(stream)


def _start_s(packet: "Packet[Stream]") -> float:
    return float((packet.dts or 0) * packet.time_base)
