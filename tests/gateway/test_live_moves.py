"""Replicas that leave or die, and stages that are down: what a live stream makes of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest
from kinemask.v1 import live_pb2
from kinemask_chassis import errors

from tests.gateway.live_kit import (
    boxes_of,
    detected,
    edit_prompt,
    gateway,
    numbered,
    prompted,
    stream_frames,
    world,
)
from tests.segmenter.box_engine import BoxEngine
from tests.segmenter.segment_calls import segmenting
from tests.stream_kit import code_of, eventually

BOX = (10.0, 10.0, 20.0, 20.0)


def degraded(result: live_pb2.StreamResult) -> dict[int, str]:
    """Stage to the reason it is degraded on this frame."""
    return {s.stage: s.degraded.message for s in result.stages if s.HasField("degraded")}


async def test_a_segmenter_that_leaves_loses_no_frame_and_no_state() -> None:
    first, second = BoxEngine(), BoxEngine()
    async with AsyncExitStack() as stack:
        leaving = await stack.enter_async_context(segmenting(first))
        staying = await stack.enter_async_context(segmenting(second))
        addresses = f"{leaving.server.address},{staying.server.address}"
        live = await stack.enter_async_context(gateway(segmenter_addresses=addresses))
        client = await live.opened(prompted())
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        results = await stream_frames(client, 0, 9)
        serving, other = (leaving, second) if first.controls.open_streams else (staying, first)
        drained = asyncio.create_task(serving.server.drain(10))
        results += await stream_frames(client, 10, 19)
        await drained
        assert other.controls.open_streams == 1
        # One pixel a frame, over the move too: the state went along.
        assert [boxes_of(r) for r in results] == [
            {1: (10.0 + n, 10.0, 20.0 + n, 20.0)} for n in range(20)
        ]
        assert not any(degraded(r) for r in results)


async def test_a_segmenter_that_dies_is_replaced_and_objects_go_on_from_their_last_masks() -> None:
    first, second = BoxEngine(), BoxEngine()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(segmenting(first))
        two = await stack.enter_async_context(segmenting(second))
        addresses = f"{one.server.address},{two.server.address}"
        live = await stack.enter_async_context(gateway(segmenter_addresses=addresses))
        client = await live.opened(prompted())
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        await stream_frames(client, 0, 4)
        dying = one if first.controls.open_streams else two
        await dying.server.close()
        results = await stream_frames(client, 5, 8)
        # Prompted anew with the mask of frame 4 at frame 5, then a pixel a frame.
        assert [boxes_of(r) for r in results] == [
            {1: (14.0 + n, 10.0, 24.0 + n, 20.0)} for n in range(4)
        ]


async def test_without_any_segmenter_left_frames_are_answered_and_say_so() -> None:
    async with AsyncExitStack() as stack:
        only = await stack.enter_async_context(segmenting(BoxEngine()))
        live = await stack.enter_async_context(gateway(segmenter_addresses=only.server.address))
        client = await live.opened(prompted())
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        await stream_frames(client, 0, 2)
        await only.server.close()
        results = await stream_frames(client, 3, 5)
        assert all(live_pb2.STAGE_SEGMENT in degraded(r) for r in results)
        assert boxes_of(results[-1]) == {1: (12.0, 10.0, 22.0, 20.0)}, "the last box known"


async def test_no_segmenter_at_the_start_is_unavailable() -> None:
    async with gateway(segmenter_addresses="127.0.0.1:1") as live:
        client = live.call()
        await client.send(config=prompted())
        status = await client.failure()
        assert code_of(status) is grpc.StatusCode.UNAVAILABLE
        assert "segmenter" in status.message


async def test_a_gateway_that_leaves_hands_the_stream_to_another() -> None:
    async with world(lambda n: [(10.0 + n, 10.0, 30.0 + n, 30.0)]) as w:
        client = await w.live.opened(detected(every=2))
        results = await stream_frames(client, 0, 6)
        drained = asyncio.create_task(w.live.server.drain(10))
        away = (await client.read("go_away")).go_away
        await client.call.done_writing()
        await drained
        assert away.last_frame_id == 6
        async with gateway(**w.addresses) as other:
            config = detected(every=2)
            config.stream.resume_token = away.resume_token
            client = other.call()
            started = await client.open(config)
            assert started.terms.resumed_after_frame_id == 6
            results += await stream_frames(client, 7, 12)
        assert [boxes_of(r) for r in results] == [
            {1: (10.0 + n, 10.0, 30.0 + n, 30.0)} for n in range(13)
        ]


async def test_a_snapshot_resumes_at_the_frame_it_names() -> None:
    async with world() as w:
        client = await w.live.opened(prompted())
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        await stream_frames(client, 0, 3)
        await client.send(snapshot={})
        snapshot = (await client.read("snapshot")).snapshot
        assert snapshot.frame_id == 3
        client.call.cancel()
        config = prompted()
        config.stream.resume_token = snapshot.resume_token
        again = await w.live.opened(config)
        (result,) = await stream_frames(again, 4, 4)
        assert boxes_of(result) == {1: (14.0, 10.0, 24.0, 20.0)}


async def test_a_token_of_another_config_is_refused() -> None:
    async with world() as w:
        client = await w.live.opened(prompted())
        await stream_frames(client, 0, 0)
        await client.send(snapshot={})
        token = (await client.read("snapshot")).snapshot.resume_token
        config = prompted()
        config.segment.max_objects = 3
        config.stream.resume_token = token
        other = w.live.call()
        await other.send(config=config)
        status = await other.failure()
        assert code_of(status) is grpc.StatusCode.INVALID_ARGUMENT
        assert "same config" in status.message


async def test_a_detector_that_fails_degrades_detection_alone() -> None:
    async with world(lambda n: [(10.0 + n, 10.0, 30.0 + n, 30.0)]) as w:
        client = await w.live.opened(detected(every=2))
        await stream_frames(client, 0, 1)
        w.detector.failing = errors.unavailable("out of memory")
        results = await stream_frames(client, 2, 5)
        assert [live_pb2.STAGE_DETECT in degraded(r) for r in results] == [True, False, True, False]
        assert "out of memory" in degraded(results[0])[live_pb2.STAGE_DETECT]
        assert [set(boxes_of(r)) for r in results] == [{1}] * 4
        w.detector.failing = None
        (result,) = await stream_frames(client, 6, 6)
        assert not degraded(result)


@pytest.mark.parametrize("stage", ["detector", "tracker"])
async def test_a_service_that_is_not_there_at_the_start_degrades_its_stage(stage: str) -> None:
    async with world(lambda n: [(10.0, 10.0, 30.0, 30.0)], **{f"{stage}_addresses": ""}) as w:
        client = w.live.call()
        started = await client.open(detected(every=2))
        down = [s for s in started.stages if s.HasField("degraded")]
        assert len(down) == 1
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        results = await stream_frames(client, 0, 2)
        assert degraded(results[0])
        assert [set(boxes_of(r)) for r in results] == [{1}] * 3


async def test_streams_spread_over_the_replicas() -> None:
    engines = [BoxEngine(), BoxEngine()]
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(segmenting(e)) for e in engines]
        addresses = ",".join(r.server.address for r in replicas)
        live = await stack.enter_async_context(gateway(segmenter_addresses=addresses))
        downstream = live.service._downstream
        assert downstream is not None
        # Until a replica is ready the others have its turns.
        await eventually(lambda: downstream.pools["segmenter"].ready == 2)
        for _ in range(4):
            client = await live.opened(prompted())
            await stream_frames(client, 0, 0)
        assert [e.controls.open_streams for e in engines] == [2, 2]


async def test_a_failing_step_is_answered_in_band() -> None:
    async with world() as w:
        w.engine.controls.fail_on = {2}
        client = await w.live.opened(prompted())
        await client.send(edit=edit_prompt(1, 1, BOX, 0))
        await stream_frames(client, 0, 1)
        await client.send(frame=numbered(2))
        error = (await client.read("error")).error
        assert error.frame_id == 2
        assert code_of(error.status) is grpc.StatusCode.INTERNAL
        (result,) = await stream_frames(client, 3, 3)
        assert set(boxes_of(result)) == {1}
