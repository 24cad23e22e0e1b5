"""A running tracker, and messages for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from kinemask import wire
from kinemask.v1 import detector_pb2, streams_pb2, tracker_pb2, tracker_pb2_grpc
from kinemask_chassis.server import RunningServer, running
from kinemask_tracker.service import TrackerService
from kinemask_tracker.settings import TrackerServiceSettings

from tests.stream_kit import StreamClient

LATEST = streams_pb2.OVERFLOW_POLICY_LATEST
Box = tuple[float, float, float, float]


class TrackCalls:
    """Opens calls on one running tracker."""

    def __init__(self, server: RunningServer, service: TrackerService) -> None:
        self.server = server
        self.streams = service.servicer.streams
        self._channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = tracker_pb2_grpc.TrackerServiceStub(self._channel)

    def call(self) -> StreamClient:
        return StreamClient(self.stub.Track, tracker_pb2.TrackRequest)

    async def opened(self, asked: tracker_pb2.TrackConfig | None = None) -> StreamClient:
        client = self.call()
        await client.open(asked or config())
        return client

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def tracking(**settings: float) -> AsyncIterator[TrackCalls]:
    """Run a tracker on a free port until the block ends."""
    service = TrackerService(TrackerServiceSettings(port=0, **settings))  # type: ignore[arg-type]  # whatever a test names
    async with running(service) as server:
        calls = TrackCalls(server, service)
        try:
            yield calls
        finally:
            await calls.close()


def config(
    window: int = 4,
    policy: streams_pb2.OverflowPolicy.ValueType = streams_pb2.OVERFLOW_POLICY_BLOCK,
    *,
    resume_token: bytes = b"",
    every: int = 0,
    algorithm: str = "",
    **parameters: float,
) -> tracker_pb2.TrackConfig:
    options = streams_pb2.StreamOptions(
        window=window, policy=policy, resume_token=resume_token, snapshot_every_n_frames=every
    )
    numbers = tracker_pb2.TrackerParameters(**parameters)  # type: ignore[arg-type]  # whatever a test names
    return tracker_pb2.TrackConfig(stream=options, algorithm=algorithm, parameters=numbers)


def detection(box_xyxy: Box, label: str = "car", prompt: str = "") -> detector_pb2.Detection:
    box = wire.box_to_message(box_xyxy)
    return detector_pb2.Detection(box=box, score=0.9, label=label, prompt=prompt)


def observation(track_id: int, box_xyxy: Box) -> tracker_pb2.Observation:
    return tracker_pb2.Observation(track_id=track_id, box=wire.box_to_message(box_xyxy), score=1.0)


def frame(
    frame_id: int,
    *found: detector_pb2.Detection,
    not_detected: bool = False,
    observed: Sequence[tracker_pb2.Observation] = (),
) -> tracker_pb2.TrackFrame:
    return tracker_pb2.TrackFrame(
        frame_id=frame_id,
        capture_time_us=frame_id % 1_000_000 * 1000,
        detections=found,
        not_detected=not_detected,
        observations=observed,
    )


def moving(frame_id: int, lanes: int = 3) -> tracker_pb2.TrackFrame:
    """Cars side by side, each two pixels further right than a frame ago."""
    boxes = [
        (2.0 * frame_id, 50.0 * lane, 2.0 * frame_id + 30, 50.0 * lane + 30)
        for lane in range(lanes)
    ]
    return frame(frame_id, *(detection(box, prompt="red car") for box in boxes))


def ending(edit_id: int, *track_ids: int, frame_id: int | None = None) -> tracker_pb2.TrackEdit:
    return tracker_pb2.TrackEdit(edit_id=edit_id, frame_id=frame_id, end_track_ids=track_ids)
