"""Slots: how many there are, and that each comes back however its stream ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import GatedCalls, config, frame, serving
from tests.stream_kit import code_of, details_of, eventually, frame_answers, reason_of

Code = grpc.StatusCode

VICTIM = """
import asyncio, sys
import grpc
from kinemask.v1 import segmenter_pb2, segmenter_pb2_grpc
from tests.chassis.gated_streams import config, frame

async def main():
    channel = grpc.aio.insecure_channel(sys.argv[1])
    call = segmenter_pb2_grpc.SegmenterServiceStub(channel).SegmentVideo()
    await call.write(segmenter_pb2.SegmentVideoRequest(config=config()))
    for frame_id in range(3):
        await call.write(segmenter_pb2.SegmentVideoRequest(frame=frame(frame_id)))
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_free_stream_says_when_to_come_back() -> None:
    service = GatedService(ChassisSettings(port=0, max_streams=2))
    async with serving(service) as calls:
        first, _second = await calls.opened(), await calls.opened()
        third = calls.call()
        await third.send(config=config())
        status = await third.failure()
        assert (code_of(status), reason_of(status)) == (Code.RESOURCE_EXHAUSTED, "NO_FREE_STREAM")
        assert details_of(status, error_details_pb2.RetryInfo).retry_delay.seconds >= 1
        await first.finish()
        await eventually(lambda: service.streams.active == 1)
        await calls.opened()


@pytest.mark.parametrize("where", ["idle", "in step", "between frames"])
async def test_cancelled_client_frees_its_slot(
    gated: GatedService, gated_calls: GatedCalls, where: str
) -> None:
    client = await gated_calls.opened()
    if where == "between frames":
        await client.send(frame=frame(0))
        await client.read("result")
    if where == "in step":
        gated.gate.shut()
        await client.send(frame=frame(0))
        await eventually(lambda: gated.gate.waiting == 1)
    client.call.cancel()
    await eventually(lambda: gated.streams.active == 0)
    assert gated.handlers[0].closed == 1
    assert gated.gate.waiting == 0
    assert gated.streams.loads() == []


async def test_killed_client_frees_its_slot_and_nobody_notices(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    other = await gated_calls.opened()
    paths = os.pathsep.join(path for path in sys.path if path)
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        VICTIM,
        gated_calls.server.address,
        env={**os.environ, "PYTHONPATH": paths},
    )
    await eventually(lambda: gated.gate.waiting == 1)
    assert gated.streams.active == 2
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    await eventually(lambda: gated.streams.active == 1)
    assert gated.handlers[1].closed == 1
    gated.gate.open = True
    await other.send(frame=frame(0))
    assert frame_answers(await other.finish()) == [("result", 0, 0)]


async def test_deadline_ends_the_stream_and_frees_its_slot(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = gated_calls.call(timeout_s=0.3)
    await client.open(config())
    await client.send(frame=frame(0))
    status = await client.failure()
    assert code_of(status) is Code.DEADLINE_EXCEEDED
    await eventually(lambda: gated.streams.active == 0)
    assert gated.gate.waiting == 0


async def test_slow_stream_does_not_hold_up_its_neighbour(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    slow = await gated_calls.opened()
    for frame_id in range(3):
        await slow.send(frame=frame(frame_id))
    await eventually(lambda: gated.gate.waiting == 1)
    gated.gate.open = True  # for who comes now; the one that waits goes on waiting
    quick = await gated_calls.opened()
    for frame_id in range(50):
        await quick.send(frame=frame(frame_id))
        await quick.read("result")
    assert gated.gate.waiting == 1
    gated.gate.let(1)
    assert frame_answers(await slow.finish()) == [("result", i, i) for i in range(3)]


async def test_failing_stream_does_not_touch_its_neighbour(gated_calls: GatedCalls) -> None:
    one, other = await gated_calls.opened(), await gated_calls.opened()
    await one.send(frame=frame(5, "bug in step"))
    await one.send(frame=frame(4))
    assert code_of(await one.failure()) is Code.INVALID_ARGUMENT
    for frame_id in range(3):
        await other.send(frame=frame(frame_id))
    assert [r.result.width for r in await other.finish()] == [1, 2, 3]
