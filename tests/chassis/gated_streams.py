"""Messages for the gated service, and a call on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc, streams_pb2
from kinemask_chassis.server import RunningServer, running

from tests.chassis.gated_service import GatedService
from tests.stream_kit import StreamClient

UNSPECIFIED = streams_pb2.OVERFLOW_POLICY_UNSPECIFIED
BLOCK = streams_pb2.OVERFLOW_POLICY_BLOCK
LATEST = streams_pb2.OVERFLOW_POLICY_LATEST
REJECT = streams_pb2.OVERFLOW_POLICY_REJECT


def frame(frame_id: int, text: str = "good") -> media_pb2.Frame:
    return media_pb2.Frame(
        frame_id=frame_id,
        image=media_pb2.Image(encoded=text.encode()),
        capture_time_us=frame_id % 1_000_000 * 1000,
    )


def removal(
    edit_id: int, frame_id: int | None = None, object_id: int = 7
) -> segmenter_pb2.SegmentVideoEdit:
    remove = segmenter_pb2.ObjectRemoval(object_id=object_id)
    return segmenter_pb2.SegmentVideoEdit(edit_id=edit_id, frame_id=frame_id, remove=remove)


def propagation(
    edit_id: int, frame_id: int | None, to_frame_id: int
) -> segmenter_pb2.SegmentVideoEdit:
    walk = segmenter_pb2.Propagation(to_frame_id=to_frame_id)
    return segmenter_pb2.SegmentVideoEdit(edit_id=edit_id, frame_id=frame_id, propagate=walk)


def stop(edit_id: int, propagation_edit_id: int) -> segmenter_pb2.SegmentVideoEdit:
    stopped = segmenter_pb2.PropagationStop(propagation_edit_id=propagation_edit_id)
    return segmenter_pb2.SegmentVideoEdit(edit_id=edit_id, stop=stopped)


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


SNAPSHOT = streams_pb2.SnapshotRequest()


class GatedCalls:
    """Opens calls on one running gated service."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.max_message_bytes: int = server.service.settings.max_message_bytes
        self._channel = grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )

    def call(self, timeout_s: float | None = None) -> StreamClient:
        stub = segmenter_pb2_grpc.SegmenterServiceStub(self._channel)
        return StreamClient(stub.SegmentVideo, segmenter_pb2.SegmentVideoRequest, timeout_s)

    async def opened(self, asked: segmenter_pb2.SegmentVideoConfig | None = None) -> StreamClient:
        client = self.call()
        await client.open(asked or config())
        return client

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def serving(service: GatedService) -> AsyncIterator[GatedCalls]:
    """Run the service and close the calls' channel behind it."""
    async with running(service) as server:
        calls = GatedCalls(server)
        try:
            yield calls
        finally:
            service.gate.release_all()
            service.walk_gate.release_all()
            await calls.close()
