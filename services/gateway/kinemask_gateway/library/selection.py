"""Which frame of a video a request means."""

from __future__ import annotations

from kinemask.v1 import videos_pb2 as pb

from kinemask_gateway.library.library import Library


async def selected_frame(library: Library, video_id: str, selector: pb.FrameSelector) -> int:
    """The number of the frame: as it is named, at a time, or any.

    Raises:
        ServiceError: NOT_FOUND or OUT_OF_RANGE.
    """
    kind = selector.WhichOneof("frame")
    if kind == "frame_index":
        return selector.frame_index
    if kind == "time_us":
        return await library.frame_at(video_id, selector.time_us)
    seed = selector.random.seed if selector.random.HasField("seed") else None
    return await library.random_frame(video_id, seed)
