"""What a propagation step takes: one frame of a segmenter's stream, with nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc
from kinemask.video import VideoReader

from benchmarks.track_scenes import Truth

_FIRST, _COUNT = 60, 50


def step_ms(path: Path, truth: Truth, segmenter: str) -> float:
    """Milliseconds a frame, objects of frame 60 being followed for 50 frames."""
    frames = [frame.image for number, frame in enumerate(VideoReader(path)) if number >= _FIRST]
    arrived: list[float] = []
    with grpc.insecure_channel(segmenter) as channel:
        stub: Any = segmenter_pb2_grpc.SegmenterServiceStub(channel)
        for reply in stub.SegmentVideo(_requests(frames[:_COUNT], truth)):
            if reply.WhichOneof("message") == "result":
                arrived.append(time.monotonic())
    return 1e3 * (arrived[-1] - arrived[0]) / (len(arrived) - 1)


def _requests(
    frames: list[np.ndarray[Any, np.dtype[np.uint8]]], truth: Truth
) -> Iterator[segmenter_pb2.SegmentVideoRequest]:
    config = segmenter_pb2.SegmentVideoConfig()
    config.stream.window = 4
    yield segmenter_pb2.SegmentVideoRequest(config=config)
    for thing, box in enumerate(truth.boxes[_FIRST]):
        if not np.isnan(box[0]):
            x_min, y_min, x_max, y_max = box.tolist()
            told = wire.box_to_message((x_min, y_min, x_max, y_max))
            prompt = segmenter_pb2.ObjectPrompt(object_id=thing + 1, box=told)
            edit = segmenter_pb2.SegmentVideoEdit(edit_id=thing + 1, prompt=prompt)
            yield segmenter_pb2.SegmentVideoRequest(edit=edit)
    for number, image in enumerate(frames):
        frame = media_pb2.Frame(frame_id=number, image=wire.image_to_message(image, None))
        yield segmenter_pb2.SegmentVideoRequest(frame=frame)
