"""A running segmenter with an injected engine, and messages for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc, streams_pb2
from kinemask_chassis.server import RunningServer, running
from kinemask_segmenter.engines.base import SegmenterEngine
from kinemask_segmenter.engines.registry import EngineSet
from kinemask_segmenter.service import SegmenterService
from kinemask_segmenter.settings import SegmenterSettings

from tests.stream_kit import StreamClient

HEIGHT, WIDTH = 48, 64
BLOCK = streams_pb2.OVERFLOW_POLICY_BLOCK
LATEST = streams_pb2.OVERFLOW_POLICY_LATEST
REJECT = streams_pb2.OVERFLOW_POLICY_REJECT
Prompt = segmenter_pb2.ObjectPrompt
Edit = segmenter_pb2.SegmentVideoEdit


class SegmentCalls:
    """Opens calls on one running segmenter."""

    def __init__(self, server: RunningServer, service: SegmenterService) -> None:
        self.server = server
        self.service = service
        self.streams = service.servicer.streams
        self._channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = segmenter_pb2_grpc.SegmenterServiceStub(self._channel)

    def call(self) -> StreamClient:
        return StreamClient(self.stub.SegmentVideo, segmenter_pb2.SegmentVideoRequest)

    async def opened(self, asked: segmenter_pb2.SegmentVideoConfig | None = None) -> StreamClient:
        client = self.call()
        await client.open(asked or config())
        return client

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def segmenting(
    *engines: SegmenterEngine, notice: str = "", **settings: float
) -> AsyncIterator[SegmentCalls]:
    """Run a segmenter on a free port until the block ends."""
    chosen = SegmenterSettings(port=0, **settings)  # type: ignore[arg-type]  # whatever a test names
    service = SegmenterService(chosen, EngineSet(engines, notice))
    async with running(service) as server:
        calls = SegmentCalls(server, service)
        try:
            yield calls
        finally:
            await calls.close()


def config(
    window: int = 4,
    policy: streams_pb2.OverflowPolicy.ValueType = BLOCK,
    *,
    resume_token: bytes = b"",
    every: int = 0,
    **fields: str | int,
) -> segmenter_pb2.SegmentVideoConfig:
    options = streams_pb2.StreamOptions(
        window=window, policy=policy, resume_token=resume_token, snapshot_every_n_frames=every
    )
    return segmenter_pb2.SegmentVideoConfig(stream=options, **fields)  # type: ignore[arg-type]  # whatever a test names


def picture(height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Image:
    gradient = np.add.outer(np.arange(height), np.arange(width)) % 256
    return wire.image_to_message(np.repeat(gradient[:, :, None], 3, axis=2).astype(np.uint8))


PICTURE = picture()


def frame(frame_id: int, image: media_pb2.Image = PICTURE) -> media_pb2.Frame:
    return media_pb2.Frame(frame_id=frame_id, image=image, capture_time_us=frame_id * 1000)


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> media_pb2.Box:
    return wire.box_to_message((x_min, y_min, x_max, y_max))


def boxed(object_id: int = 1, box_xyxy: tuple[float, ...] = (4, 4, 14, 14)) -> Prompt:
    return Prompt(object_id=object_id, box=box(*box_xyxy))


def prompt(edit_id: int, frame_id: int | None = None, what: Prompt | None = None) -> Edit:
    return Edit(edit_id=edit_id, frame_id=frame_id, prompt=what or boxed())


def removal(edit_id: int, object_id: int, frame_id: int | None = None) -> Edit:
    remove = segmenter_pb2.ObjectRemoval(object_id=object_id)
    return Edit(edit_id=edit_id, frame_id=frame_id, remove=remove)


def boxes_of(result: segmenter_pb2.SegmentVideoResult) -> dict[int, tuple[float, ...]]:
    """Object id to mask box, for objects that are there."""
    return {o.object_id: wire.box_from_message(o.box) for o in result.objects if o.area_px}


TRUNCATED = media_pb2.Image(encoded=PICTURE.encoded[: len(PICTURE.encoded) // 2])


def square_mask(height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Mask:
    """The mask of `boxed()`'s box."""
    mask = np.zeros((height, width), np.bool_)
    mask[4:14, 4:14] = True
    message = wire.mask_to_message(mask)
    assert message is not None
    return message


async def play(client: StreamClient, frames: range) -> list[segmenter_pb2.SegmentVideoResult]:
    """Send one frame after the other's result; the results."""
    results = []
    for frame_id in frames:
        await client.send(frame=frame(frame_id))
        results.append((await client.read("result")).result)
    return results


async def answers_to(client: StreamClient, frames: int) -> list[segmenter_pb2.SegmentVideoResponse]:
    """Send so many frames and no more; everything that comes."""
    for frame_id in range(frames):
        await client.send(frame=frame(frame_id))
    return await client.finish()
