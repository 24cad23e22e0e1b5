"""Which frames a render or an export is of."""

from __future__ import annotations

from kinemask.v1 import videos_pb2

from kinemask_gateway.jobs.body import JobFailedError
from kinemask_gateway.rendering.plan import Span
from kinemask_gateway.tracks.reader import TracksReader


def span_of(wanted: videos_pb2.FrameRange, tracks: TracksReader) -> Span:
    """A range, of those frames that were looked at: the others may show anything.

    Raises:
        JobFailedError: the track job has looked at none of them.
    """
    manifest = tracks.manifest
    first, last = manifest.first_frame_index, manifest.last_frame_index
    if wanted.HasField("first_frame_index"):
        first = max(first, wanted.first_frame_index)
    if wanted.HasField("last_frame_index"):
        last = min(last, wanted.last_frame_index)
    if first > last:
        what = f"{manifest.first_frame_index} to {manifest.last_frame_index}"
        raise JobFailedError(f"the track job has looked at frames {what} only", "NO_SUCH_FRAME")
    return Span(first, last)
