"""From encoded chunks to one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from kinemask.video import ChunkJoiner, CopiedAudio, EncoderSettings, VideoInfo

from kinemask_gateway.rendering.coverage import Coverage
from kinemask_gateway.rendering.lane import RenderedChunk, Source, StoppedError
from kinemask_gateway.storage.objects import BlockingReads

PRESET = "veryfast"


def settings_for(info: VideoInfo, *, crf: int, max_side_px: int) -> EncoderSettings:
    """How a video of this kind is encoded; `max_side_px` 0: in its own size."""
    width, height = info.width, info.height
    longer = max(width, height)
    if 0 < max_side_px < longer:
        width = max(width * max_side_px // longer & ~1, 2)
        height = max(height * max_side_px // longer & ~1, 2)
    return EncoderSettings(
        width=width,
        height=height,
        rate=info.average_rate or Fraction(25),
        time_base=info.time_base,
        color=info.color,
        pixel_aspect=info.pixel_aspect,
        crf=crf,
        preset=PRESET,
    )


def join(
    target: Path,
    source: Source,
    keys: Sequence[str],
    reads: BlockingReads,
    with_audio: bool,
    is_stopped: Callable[[], bool],
) -> Coverage:
    """Write the chunks of `keys` to `target`, one at a time; how all objects are covered.

    Raises:
        StoppedError: `is_stopped` said so.
        VideoError: it cannot be written, or the audio cannot be copied.
        ObjectMissingError, ServiceError: a chunk cannot be read.
    """
    span, index = source.span, source.index
    whole = index.pts[span.first : span.last + 1] - source.first_pts
    ends = index.end_pts if span.last + 1 == index.frame_count else int(index.pts[span.last + 1])
    audio = _audio(source, ends) if with_audio and source.info.has_audio else None
    coverage = Coverage()
    joiner = ChunkJoiner(target, source.settings, whole, ends - source.first_pts, audio)
    try:
        for key in keys:
            if is_stopped():
                raise StoppedError
            chunk = RenderedChunk.from_bytes(reads.get(key))
            joiner.add(chunk.encoded)
            coverage.merge(chunk.coverage)
        joiner.finish()
    finally:
        joiner.close()
    return coverage


def _audio(source: Source, end_pts: int) -> CopiedAudio:
    if source.span.frame_count == source.index.frame_count:
        return CopiedAudio(source.path)
    base = source.index.time_base
    return CopiedAudio(source.path, source.first_pts * base, end_pts * base)
