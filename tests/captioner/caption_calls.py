"""A running captioner with injected engines, and messages for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import captioner_pb2, captioner_pb2_grpc, media_pb2
from kinemask_captioner.engines.registry import EngineSet
from kinemask_captioner.service import CaptionerService
from kinemask_captioner.settings import CaptionerSettings
from kinemask_chassis.server import RunningServer, running
from kinemask_chassis.weights.absent import AbsentModel

from tests.captioner.grey_engine import GreyEngine

HEIGHT, WIDTH = 24, 32
MAX_PIXELS = 100_000
ABSENT = AbsentModel("lacking", "scripted", "MIT", "no weights: kinemask models pull lacking")


def grey(level: int, height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Image:
    """A picture of one grey level; raw, so that it comes back to the pixel."""
    image = np.full((height, width, 3), level, np.uint8)
    return wire.image_to_message(image, jpeg_quality=None)


PICTURE = grey(90)
_JPEG = wire.image_to_message(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).encoded
TRUNCATED = media_pb2.Image(encoded=_JPEG[: len(_JPEG) // 3])
UNDECODABLE = media_pb2.Image(encoded=b"no picture")
TOO_LARGE = grey(90, 400, 300)


class CaptionCalls:
    """Opens calls on one running captioner."""

    def __init__(self, server: RunningServer, service: CaptionerService) -> None:
        self.server = server
        self.service = service
        self.channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = captioner_pb2_grpc.CaptionerServiceStub(self.channel)

    async def caption(
        self, images: Sequence[media_pb2.Image], timeout_s: float = 60.0, **options: Any
    ) -> captioner_pb2.CaptionResponse:
        asked = captioner_pb2.CaptionOptions(**options)
        request = captioner_pb2.CaptionRequest(images=images, options=asked)
        return await self.stub.Caption(request, timeout=timeout_s)

    async def models(self) -> list[media_pb2.ModelInfo]:
        request = captioner_pb2.CaptionerServiceListModelsRequest()
        return list((await self.stub.ListModels(request)).models)


@asynccontextmanager
async def captioning(
    *engines: GreyEngine, absent: Sequence[AbsentModel] = (ABSENT,), **settings: Any
) -> AsyncIterator[CaptionCalls]:
    """Run a captioner with these engines on a free port until the block ends."""
    chosen = CaptionerSettings(port=0, **{"max_pixels": MAX_PIXELS, **settings})
    async with serving(CaptionerService(chosen, EngineSet(engines, absent))) as calls:
        yield calls


@asynccontextmanager
async def captioning_with(data_dir: Path, **settings: Any) -> AsyncIterator[CaptionCalls]:
    """The same with the engines that the data folder has weights for."""
    chosen = CaptionerSettings(port=0, data_dir=data_dir, captioner_device="cpu", **settings)
    async with serving(CaptionerService(chosen)) as calls:
        yield calls


@asynccontextmanager
async def serving(service: CaptionerService) -> AsyncIterator[CaptionCalls]:
    async with running(service) as server:
        calls = CaptionCalls(server, service)
        try:
            yield calls
        finally:
            await calls.channel.close()


def words_of(answer: captioner_pb2.CaptionResponse) -> list[str]:
    return [result.caption for result in answer.results]
