"""A gateway with real segmenters and trackers behind it, and a detector that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from kinemask import wire
from kinemask.v1 import (
    detector_pb2,
    detector_pb2_grpc,
    live_pb2,
    live_pb2_grpc,
    media_pb2,
    segmenter_pb2,
    streams_pb2,
)
from kinemask_chassis import errors
from kinemask_chassis.provenance import service_info
from kinemask_chassis.server import RunningServer, Service, running
from kinemask_chassis.settings import ChassisSettings
from kinemask_gateway.service import GatewayService
from kinemask_gateway.settings import GatewaySettings
from kinemask_tracker.service import TrackerService
from kinemask_tracker.settings import TrackerServiceSettings

from tests.segmenter.box_engine import BoxEngine
from tests.segmenter.segment_calls import segmenting
from tests.stream_kit import StreamClient

HEIGHT, WIDTH = 64, 96
WORD = "thing"
BoxXyxy = tuple[float, float, float, float]
Script = Callable[[int], Sequence[BoxXyxy]]
"""From the frame's number to the boxes found on it."""


def numbered(frame_id: int, height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Frame:
    """A grey frame whose level is its number, so that the scripted detector can tell."""
    image = np.full((height, width, 3), frame_id % 256, np.uint8)
    return media_pb2.Frame(
        frame_id=frame_id,
        image=wire.image_to_message(image, jpeg_quality=None),
        capture_time_us=frame_id * 1000,
    )


def shot(frame_id: int, seed: int) -> media_pb2.Frame:
    """A frame of a shot: a pattern of its own, and the number in the first pixel."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(small, HEIGHT // 4, axis=0), WIDTH // 6, axis=1)
    image[0, 0] = frame_id
    return media_pb2.Frame(frame_id=frame_id, image=wire.image_to_message(image, jpeg_quality=None))


@dataclass
class ScriptedDetector(detector_pb2_grpc.DetectorServiceServicer):
    """Knows the word `thing`; finds what the script says."""

    script: Script
    hold: asyncio.Event | None = None
    """Detections wait for it."""
    failing: errors.ServiceError | None = None
    seen: list[int] = field(default_factory=list)
    """Frames that were detected on."""
    label: str = "thing"
    """What it calls what it finds."""

    async def Detect(
        self, request: detector_pb2.DetectRequest, context: Any
    ) -> detector_pb2.DetectResponse:
        self._check(request.options)
        number = int(wire.image_from_message(request.images[0])[0, 0, 0])
        self.seen.append(number)
        if self.hold is not None:
            await self.hold.wait()
        if self.failing is not None:
            raise self.failing
        found = [
            detector_pb2.Detection(
                box=wire.box_to_message(b), score=0.9, label=self.label, prompt="thing"
            )
            for b in self.script(number)
        ]
        result = detector_pb2.ImageDetections(detections=found, width=WIDTH, height=HEIGHT)
        info = service_info("detector", engine="scripted", model="scripted")
        return detector_pb2.DetectResponse(results=[result], service=info)

    async def DetectStream(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # writes itself
        first = await anext(request_iterator)
        self._check(first.config.options)
        started = detector_pb2.DetectStreamStarted(config=first.config)
        info = service_info("detector", engine="scripted", model="scripted")
        started.terms.service.CopyFrom(info)
        await context.write(detector_pb2.DetectStreamResponse(started=started))

    async def ListModels(self, request: Any, context: Any) -> Any:
        return detector_pb2.DetectorServiceListModelsResponse(
            models=[media_pb2.ModelInfo(name="scripted", ready=True)]
        )

    def _check(self, options: detector_pb2.DetectOptions) -> None:
        unknown = [p for p in options.prompts if p != WORD]
        if unknown:
            raise errors.invalid("options.prompts[0]", f"expected {WORD}", reason="UNKNOWN_PROMPT")


class _DetectorService(Service[ChassisSettings]):
    name = "detector"
    rpc_services = ("kinemask.v1.DetectorService",)

    def __init__(self, servicer: ScriptedDetector) -> None:
        super().__init__(ChassisSettings(port=0))
        self._servicer = servicer

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self._servicer, server)


@asynccontextmanager
async def detecting(servicer: ScriptedDetector) -> AsyncIterator[RunningServer]:
    """The scripted detector on a free port."""
    async with running(_DetectorService(servicer)) as server:
        yield server


class LiveCalls:
    """Opens streams on one running gateway."""

    def __init__(self, server: RunningServer, service: GatewayService) -> None:
        self.server = server
        self.service = service
        self.channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = live_pb2_grpc.LiveServiceStub(self.channel)

    def call(self) -> StreamClient:
        return StreamClient(self.stub.Stream, live_pb2.StreamRequest)

    async def opened(self, asked: live_pb2.StreamConfig) -> StreamClient:
        client = self.call()
        await client.open(asked)
        return client


@asynccontextmanager
async def gateway(**settings: Any) -> AsyncIterator[LiveCalls]:
    """A gateway on a free port; settings name the addresses behind it."""
    behind = dict.fromkeys(("detector_addresses", "segmenter_addresses", "tracker_addresses"), "")
    service = GatewayService(GatewaySettings(port=0, **{**behind, **settings}))
    async with running(service) as server:
        calls = LiveCalls(server, service)
        try:
            yield calls
        finally:
            await calls.channel.close()


@dataclass
class World:
    """Everything that runs for one test."""

    live: LiveCalls
    detector: ScriptedDetector
    engine: BoxEngine
    addresses: dict[str, str]


@asynccontextmanager
async def world(script: Script = lambda _: (), **settings: Any) -> AsyncIterator[World]:
    """One of each service, and a gateway in front."""
    detector, engine = ScriptedDetector(script), BoxEngine()
    async with AsyncExitStack() as stack:
        segmenter = await stack.enter_async_context(segmenting(engine))
        tracker = await stack.enter_async_context(
            running(TrackerService(TrackerServiceSettings(port=0)))
        )
        found = await stack.enter_async_context(running(_DetectorService(detector)))
        addresses = {
            "segmenter_addresses": segmenter.server.address,
            "tracker_addresses": tracker.address,
            "detector_addresses": found.address,
        }
        live = await stack.enter_async_context(gateway(**{**addresses, **settings}))
        yield World(live, detector, engine, addresses)


def prompted(window: int = 4, **options: Any) -> live_pb2.StreamConfig:
    """A stream of masks from prompts."""
    stream = streams_pb2.StreamOptions(window=window, **options)
    return live_pb2.StreamConfig(stream=stream, segment=live_pb2.SegmentStage())


def detected(
    every: int = 3, sync: bool = True, word: str = "thing", masks: bool = True, **options: Any
) -> live_pb2.StreamConfig:
    """A stream of masks from words."""
    timing = live_pb2.DETECTION_TIMING_SYNC if sync else live_pb2.DETECTION_TIMING_ASYNC
    config = live_pb2.StreamConfig(
        stream=streams_pb2.StreamOptions(**options),
        detect=live_pb2.DetectStage(
            options=detector_pb2.DetectOptions(prompts=[word]), every_n_frames=every, timing=timing
        ),
    )
    if masks:
        config.segment.SetInParent()
    return config


def edit_prompt(
    edit_id: int, object_id: int, box: BoxXyxy, frame_id: int | None = None
) -> live_pb2.StreamEdit:
    prompt = segmenter_pb2.ObjectPrompt(object_id=object_id, box=wire.box_to_message(box))
    return live_pb2.StreamEdit(edit_id=edit_id, frame_id=frame_id, prompt=prompt)


def boxes_of(result: live_pb2.StreamResult) -> dict[int, BoxXyxy]:
    """Object id to box, for objects that are there."""
    return {o.object_id: wire.box_from_message(o.box) for o in result.objects if o.HasField("box")}


async def stream_frames(client: StreamClient, first: int, last: int) -> list[live_pb2.StreamResult]:
    """Send frames first..last one at a time and read each answer, passing edits' answers over."""
    results = []
    for frame_id in range(first, last + 1):
        await client.send(frame=numbered(frame_id))
        results.append(await next_result(client))
    return results


async def next_result(client: StreamClient) -> live_pb2.StreamResult:
    while True:
        reply = await client.read()
        kind = reply.WhichOneof("message")
        assert kind in ("result", "edit"), f"expected a result, found {reply}"
        if kind == "result":
            result: live_pb2.StreamResult = reply.result
            return result
