"""A running detector with an injected engine, and messages for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import detector_pb2, detector_pb2_grpc, media_pb2, streams_pb2
from kinemask_chassis.server import RunningServer, running
from kinemask_detector.engines.registry import AnyEngine, EngineSet
from kinemask_detector.service import DetectorService
from kinemask_detector.settings import DetectorSettings

from tests.detector.spot_engine import POISON_RGB
from tests.stream_kit import StreamClient

HEIGHT, WIDTH = 48, 64
BLOCK = streams_pb2.OVERFLOW_POLICY_BLOCK
LATEST = streams_pb2.OVERFLOW_POLICY_LATEST
REJECT = streams_pb2.OVERFLOW_POLICY_REJECT
SNAPSHOT = streams_pb2.SnapshotRequest()
SPOT_XYXY = (16.0, 8.0, 32.0, 24.0)


def picture(height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Image:
    """A dark picture with a spot at `SPOT_XYXY`; raw, so that it comes back to the pixel."""
    image = np.zeros((height, width, 3), np.uint8)
    image[8:24, 16:32] = 255
    return wire.image_to_message(image, jpeg_quality=None)


PICTURE = picture()
POISON = wire.image_to_message(np.full((HEIGHT, WIDTH, 3), POISON_RGB, np.uint8), None)
_JPEG = wire.image_to_message(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).encoded
TRUNCATED = media_pb2.Image(encoded=_JPEG[: len(_JPEG) // 3])
UNDECODABLE = media_pb2.Image(encoded=b"no picture")
TOO_LARGE = picture(400, 300)
MAX_PIXELS = 100_000


class DetectCalls:
    """Opens calls on one running detector."""

    def __init__(self, server: RunningServer, service: DetectorService) -> None:
        self.server = server
        self.service = service
        self.streams = service.servicer.streams
        self._channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = detector_pb2_grpc.DetectorServiceStub(self._channel)

    async def detect(
        self,
        images: Sequence[media_pb2.Image],
        options: detector_pb2.DetectOptions | None = None,
        timeout_s: float = 60.0,
    ) -> detector_pb2.DetectResponse:
        request = detector_pb2.DetectRequest(images=images, options=options or asked())
        return await self.stub.Detect(request, timeout=timeout_s)

    def call(self, timeout_s: float | None = None) -> StreamClient:
        return StreamClient(self.stub.DetectStream, detector_pb2.DetectStreamRequest, timeout_s)

    async def opened(self, config: detector_pb2.DetectStreamConfig | None = None) -> StreamClient:
        client = self.call()
        await client.open(config or stream_config())
        return client

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def detecting(*engines: AnyEngine, **settings: float) -> AsyncIterator[DetectCalls]:
    """Run a detector with these engines on a free port until the block ends."""
    async with _detecting(EngineSet(engines) if engines else None, **settings) as calls:
        yield calls


@asynccontextmanager
async def detecting_with(data_dir: Path, **settings: float) -> AsyncIterator[DetectCalls]:
    """The same with what is in a data folder, on the CPU."""
    async with _detecting(None, data_dir=data_dir, detector_device="cpu", **settings) as calls:
        yield calls


@asynccontextmanager
async def _detecting(engines: EngineSet | None, **settings: object) -> AsyncIterator[DetectCalls]:
    chosen = DetectorSettings(port=0, **{"max_pixels": MAX_PIXELS, **settings})  # type: ignore[arg-type]  # whatever a test names
    service = DetectorService(chosen, engines)
    async with running(service) as server:
        calls = DetectCalls(server, service)
        try:
            yield calls
        finally:
            await calls.close()


def asked(*prompts: str, **options: object) -> detector_pb2.DetectOptions:
    """Options; one spot where no prompt is named."""
    return detector_pb2.DetectOptions(prompts=prompts or ("spot",), **options)  # type: ignore[arg-type]  # whatever a test names


def stream_config(
    window: int = 4,
    policy: streams_pb2.OverflowPolicy.ValueType = BLOCK,
    *,
    resume_token: bytes = b"",
    options: detector_pb2.DetectOptions | None = None,
) -> detector_pb2.DetectStreamConfig:
    stream = streams_pb2.StreamOptions(window=window, policy=policy, resume_token=resume_token)
    return detector_pb2.DetectStreamConfig(stream=stream, options=options or asked())


def frame(frame_id: int, image: media_pb2.Image = PICTURE) -> media_pb2.Frame:
    return media_pb2.Frame(frame_id=frame_id, image=image, capture_time_us=frame_id * 1000)


def edit(
    edit_id: int, options: detector_pb2.DetectOptions, frame_id: int | None = None
) -> detector_pb2.DetectStreamEdit:
    return detector_pb2.DetectStreamEdit(edit_id=edit_id, frame_id=frame_id, options=options)


def prompts_of(result: detector_pb2.ImageDetections) -> list[str]:
    return [detection.prompt for detection in result.detections]
