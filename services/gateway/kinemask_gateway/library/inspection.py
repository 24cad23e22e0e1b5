"""Looks into a file that is to become a video: is it one, what is in it, is it whole?

Blocking; for a thread. Nothing but a known container format is opened, so that no playlist makes
FFmpeg read another file or an address.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import av
import av.error
import grpc
from av.container import InputContainer
from av.video.stream import VideoStream
from kinemask.video import FrameIndex, IndexedReader, VideoError, VideoInfo, index_video
from kinemask.video._length import missing_bytes
from kinemask_chassis import errors

from kinemask_gateway.library.facts import AudioTrack, DamagedSpan, VideoFacts

_FORMATS: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,m4v,h264,hevc,av1,obu,ivf,mxf,nut,"
    # Known for what they are, to be told apart from rubbish.
    "mp3,wav,flac,aac,gif"
)
_MEDIA_TYPES: Final = {
    "mov": "video/mp4",
    "matroska": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "asf": "video/x-ms-asf",
    "mpeg": "video/mpeg",
}
_FULL_LOOK_PIXELS: Final = 1_000_000_000
"""Videos up to this many pixels in all are decoded from end to end at once."""
_SAMPLES: Final = 6
_SAMPLE_FRAMES: Final = 16


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    facts: VideoFacts
    index: FrameIndex
    media_type: str


def inspect(
    path: Path,
    *,
    max_pixels: int,
    salvage: bool,
    whole: bool = False,
    stopped: threading.Event | None = None,
) -> Inspection:
    """Look into a file; `whole`: decode all of it, however long it is.

    Once `stopped` is set it ends soon, and its result is of no use.

    Raises:
        ServiceError: INVALID_ARGUMENT with reason NOT_A_VIDEO, NO_VIDEO_TRACK, NO_FRAMES,
            TOO_MANY_PIXELS, or, unless `salvage`, DAMAGED.
    """
    missing = missing_bytes(path)
    facts, media_type = _described(path, max_pixels, missing)
    try:
        indexed = index_video(path)
    except VideoError as error:
        raise _refused("DAMAGED" if missing else "NO_FRAMES", str(error)) from error
    try:
        reader = IndexedReader(path, indexed.index, max_pixels=max_pixels, prefetch_frames=0)
    except VideoError as error:
        raise _refused("DAMAGED", str(error)) from error
    facts = _measured(facts, indexed.index, reader.info)
    count = indexed.index.frame_count
    pixels = facts.width * facts.height * count
    suspect = bool(missing or indexed.damage)
    exact = whole or pixels <= _FULL_LOOK_PIXELS or (salvage and suspect)
    bad = reader.damaged(stopped=stopped) if exact else _sampled(reader, count)
    facts = replace(facts, damage=_spans(bad), frame_count_exact=exact)
    if (bad or suspect) and not salvage:
        raise _refused("DAMAGED", _complaint(facts, missing, indexed.damage))
    if len(bad) == count:
        raise _refused("NO_FRAMES", "not one frame can be decoded")
    return Inspection(*_without_tail(facts, indexed.index, reader.info), media_type)


def _described(path: Path, max_pixels: int, missing: int) -> tuple[VideoFacts, str]:
    """What the container says, before anything is decoded."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), "r", metadata_errors="replace", options=options)
    except (av.error.FFmpegError, OSError) as error:
        if missing:
            raise _refused("DAMAGED", f"it is cut short: {missing} bytes are missing") from error
        raise _refused("NOT_A_VIDEO", "it is in no video format known here") from error
    with container:
        stream = _video_stream(container)
        context = stream.codec_context
        if not context.width or not context.height:
            raise _refused("NO_FRAMES", "it has a video track, but no frames that can be decoded")
        if context.width * context.height > max_pixels:
            size = f"{context.width}x{context.height} pixels"
            raise _refused("TOO_MANY_PIXELS", f"{size}, the limit is {max_pixels} in all")
        kind = "webm" if path.suffix == ".webm" else container.format.name.split(",")[0]
        media_type = _MEDIA_TYPES.get(kind, f"video/{kind}")
        return _said(container, stream, bool(missing)), media_type


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # Against its stub: FFmpeg may have no decoder. The cover of a song is no video.
        if stream.codec_context is not None and not int(stream.disposition) & 0x400:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise _refused("NO_VIDEO_TRACK", f"expected a video track, found {kinds}")


def _said(container: InputContainer, stream: VideoStream, truncated: bool) -> VideoFacts:
    context = stream.codec_context
    pixel_format = context.format
    return VideoFacts(
        width=context.width,
        height=context.height,
        rotation_deg=0,
        frame_count=0,
        frame_count_exact=False,
        duration_us=0,
        average_fps=0.0,
        variable_frame_rate=False,
        codec=context.name,
        pixel_format=pixel_format.name if pixel_format else "",
        bit_depth=pixel_format.components[0].bits if pixel_format else 0,
        container=container.format.name,
        audio_tracks=tuple(
            AudioTrack(
                codec=audio.codec_context.name if audio.codec_context else "unknown",
                channels=audio.codec_context.channels if audio.codec_context else 0,
                sample_rate_hz=audio.codec_context.sample_rate if audio.codec_context else 0,
                language=audio.language or "",
            )
            for audio in container.streams.audio
        ),
        truncated=truncated,
    )


def _measured(facts: VideoFacts, index: FrameIndex, info: VideoInfo) -> VideoFacts:
    duration_us = index.duration_us
    return replace(
        facts,
        width=info.width,
        height=info.height,
        rotation_deg=info.rotation,
        frame_count=index.frame_count,
        duration_us=duration_us,
        average_fps=index.frame_count * 1e6 / duration_us if duration_us else 0.0,
        variable_frame_rate=index.has_variable_rate,
    )


def _sampled(reader: IndexedReader, count: int) -> list[int]:
    """Looks at the begin, the end and a few places between, each from a key frame on."""
    starts = {reader.index.keyframe_for(count * k // _SAMPLES) for k in range(_SAMPLES)}
    bad: list[int] = []
    for start in sorted(starts):
        bad += reader.damaged(start, min(start + _SAMPLE_FRAMES, count) - 1)
    last = max(reader.index.keyframe_for(count - 1), count - 8 * _SAMPLE_FRAMES)
    return sorted({*bad, *reader.damaged(last, count - 1)})


def _spans(bad: Sequence[int]) -> tuple[DamagedSpan, ...]:
    runs: list[list[int]] = []
    for number in bad:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return tuple(DamagedSpan(a, b, "cannot be decoded, or only with errors") for a, b in runs)


def _without_tail(
    facts: VideoFacts, index: FrameIndex, info: VideoInfo
) -> tuple[VideoFacts, FrameIndex]:
    """Frames that a cut-off file lost at its end are not counted."""
    count = index.frame_count
    if not facts.damage or facts.damage[-1].last_frame_index != count - 1:
        return facts, index
    kept = facts.damage[-1].first_frame_index
    pts = index.pts[:kept]
    shorter = replace(
        index,
        pts=pts,
        keyframes=index.keyframes[index.keyframes < kept],
        end_pts=int(index.pts[kept]),
    )
    return _measured(facts, shorter, info), shorter


def _complaint(facts: VideoFacts, missing: int, demuxer: str) -> str:
    parts: Iterable[str] = (
        f"{missing} bytes are missing at its end" if missing else "",
        f"it cannot be read to its end ({demuxer})" if demuxer else "",
        f"frame {facts.damage[0].first_frame_index} is damaged" if facts.damage else "",
    )
    told = "; ".join(part for part in parts if part)
    return f"{told}. With the damage policy SALVAGE what can be decoded is taken"


def _refused(reason: str, what: str) -> errors.ServiceError:
    code = grpc.StatusCode.INVALID_ARGUMENT
    return errors.ServiceError(code, f"the file is refused: {what}", reason=reason)
