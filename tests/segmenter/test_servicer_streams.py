"""The stream contract on the segmenter: slow engines, lost clients, hand-over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2, streams_pb2
from kinemask_segmenter.engines.base import SegmenterEngine
from kinemask_segmenter.engines.flow import FlowEngine

from tests.segmenter.box_engine import BoxEngine
from tests.segmenter.segment_calls import (
    BLOCK,
    LATEST,
    REJECT,
    SegmentCalls,
    boxed,
    boxes_of,
    config,
    frame,
    prompt,
    segmenting,
)
from tests.stream_kit import (
    StreamClient,
    code_of,
    eventually,
    frame_answers,
    kinds,
    reason_of,
)

Code = grpc.StatusCode
Result = segmenter_pb2.SegmentVideoResult
SNAPSHOT = streams_pb2.SnapshotRequest()


def moving_square(frame_id: int) -> media_pb2.Frame:
    """A textured square moving over a textured wall, 2 pixels a frame."""
    rng = np.random.default_rng(5)
    image = rng.integers(40, 90, (96, 128, 3), np.uint8)
    left = 10 + 2 * frame_id
    image[30:60, left : left + 30] = rng.integers(150, 250, (30, 30, 3), np.uint8)
    encoded = wire.image_to_message(image, jpeg_quality=95)
    return media_pb2.Frame(frame_id=frame_id, image=encoded, capture_time_us=frame_id)


SQUARE = boxed(1, (10, 30, 40, 60))


async def play(client: StreamClient, frames: range) -> list[Result]:
    """One frame after the other; results without their timing."""
    results = []
    for frame_id in frames:
        await client.send(frame=moving_square(frame_id))
        result = (await client.read("result")).result
        result.ClearField("timing")
        results.append(result)
    return results


async def prompted(calls: SegmentCalls) -> tuple[StreamClient, Result]:
    """A stream that follows the square, and its first frame's result."""
    client = await calls.opened()
    await client.send(edit=prompt(1, 0, SQUARE))
    await client.send(frame=moving_square(0))
    await client.read("edit")
    result = (await client.read("result")).result
    result.ClearField("timing")
    return client, result


ENGINES = [pytest.param(BoxEngine, id="boxes"), pytest.param(FlowEngine, id="flow")]
MakeEngine = Callable[[], SegmenterEngine]


@pytest.mark.parametrize("make", ENGINES)
async def test_stream_that_moves_loses_no_frame_and_no_bit_of_a_mask(make: MakeEngine) -> None:
    async with segmenting(make()) as here, segmenting(make()) as there:
        client, first = await prompted(there)
        undisturbed = [first, *await play(client, range(1, 16))]
        client, first = await prompted(here)
        moved = [first, *await play(client, range(1, 8))]
        draining = asyncio.create_task(here.server.drain(grace_s=20))
        away = (await client.read("go_away")).go_away
        await client.finish()
        await draining
        assert away.last_frame_id == 7
        client = await there.opened(config(resume_token=away.resume_token))
        moved += await play(client, range(8, 16))
    assert moved == undisturbed
    assert all(boxes_of(result) for result in undisturbed)


@pytest.mark.parametrize("make", ENGINES)
async def test_stream_goes_on_from_a_snapshot(make: MakeEngine) -> None:
    async with segmenting(make()) as calls:
        client, _ = await prompted(calls)
        await play(client, range(1, 5))
        await client.send(snapshot=SNAPSHOT)
        snapshot = (await client.read("snapshot")).snapshot
        assert snapshot.frame_id == 4
        went_on = await play(client, range(5, 9))
        other = await calls.opened(config(resume_token=snapshot.resume_token))
        assert await play(other, range(5, 9)) == went_on


async def test_token_of_another_engine_is_refused() -> None:
    # Both tokens are whole, and the configs are equal: only the engine's own state tells.
    async with segmenting(BoxEngine()) as here, segmenting(FlowEngine()) as there:
        client, _ = await prompted(here)
        await client.send(snapshot=SNAPSHOT)
        token = (await client.read("snapshot")).snapshot.resume_token
        other = there.call()
        await other.send(config=config(resume_token=token))
        status = await other.failure()
        assert (code_of(status), reason_of(status)) == (Code.DATA_LOSS, "RESUME_TOKEN_DAMAGED")
        assert there.streams.active == 0


async def test_resumed_stream_keeps_its_frame_size() -> None:
    async with segmenting(BoxEngine()) as calls:
        client, _ = await prompted(calls)
        await client.send(snapshot=SNAPSHOT)
        token = (await client.read("snapshot")).snapshot.resume_token
        other = await calls.opened(config(resume_token=token))
        await other.send(frame=frame(1))
        status = (await other.read("error")).error.status
        assert reason_of(status) == "FRAME_SIZE"


@pytest.fixture
def slow_engine() -> BoxEngine:
    """An engine whose steps wait until `hold` is set."""
    engine = BoxEngine()
    engine.controls.hold = threading.Event()
    return engine


def release(engine: BoxEngine) -> None:
    assert engine.controls.hold is not None
    engine.controls.hold.set()


@pytest.mark.parametrize("policy", [BLOCK, LATEST, REJECT], ids=["block", "latest", "reject"])
async def test_slow_engine_answers_every_frame_once_in_order(
    slow_engine: BoxEngine, policy: streams_pb2.OverflowPolicy.ValueType
) -> None:
    async with segmenting(slow_engine) as calls:
        client = await calls.opened(config(4, policy))

        async def feed() -> None:
            for frame_id in range(40):
                await client.send(frame=frame(frame_id))
            await client.call.done_writing()

        feeding = asyncio.create_task(feed())
        await eventually(lambda: slow_engine.controls.holding == 1)
        (load,) = calls.streams.loads()
        assert load.frames <= 4
        release(slow_engine)
        responses = await client.rest()
        await feeding
    answers = frame_answers(responses)
    assert [i for _, first, last in answers for i in range(first, last + 1)] == list(range(40))
    assert policy != BLOCK or {kind for kind, _, _ in answers} == {"result"}


async def test_cancelled_client_frees_its_slot_before_the_engine_is_done(
    slow_engine: BoxEngine,
) -> None:
    async with segmenting(slow_engine) as calls:
        client = await calls.opened()
        for frame_id in range(3):
            await client.send(frame=frame(frame_id))
        await eventually(lambda: slow_engine.controls.holding == 1)
        client.call.cancel()
        await eventually(lambda: calls.streams.active == 0)
        # The thread is still inside the step: what it works on is freed when it comes out.
        assert slow_engine.controls.open_streams == 1
        release(slow_engine)
        await eventually(lambda: slow_engine.controls.open_streams == 0)


async def test_slow_stream_does_not_hold_up_its_neighbour(slow_engine: BoxEngine) -> None:
    async with segmenting(slow_engine, BoxEngine("quick")) as calls:
        slow = await calls.opened(config(model="boxes"))
        quick = await calls.opened(config(model="quick"))
        await slow.send(frame=frame(0))
        await eventually(lambda: slow_engine.controls.holding == 1)
        for frame_id in range(20):
            await quick.send(frame=frame(frame_id))
            await quick.read("result")
        release(slow_engine)
        assert kinds(await slow.finish()) == ["result"]


async def test_streams_of_one_engine_do_not_share_objects() -> None:
    async with segmenting(BoxEngine()) as calls:
        one, other = await calls.opened(), await calls.opened()
        await one.send(edit=prompt(1, 0))
        await one.send(frame=frame(0))
        await other.send(frame=frame(0))
        assert sorted(boxes_of((await one.finish())[-1].result)) == [1]
        assert boxes_of((await other.finish())[-1].result) == {}


async def test_engine_streams_are_closed_however_theirs_ends() -> None:
    engine = BoxEngine()
    async with segmenting(engine) as calls:
        ended, broken, cancelled = [await calls.opened() for _ in range(3)]
        for client in (ended, broken, cancelled):
            await client.send(frame=frame(5))
            await client.read("result")
        assert engine.controls.open_streams == 3
        await ended.finish()
        await broken.send(frame=frame(5))
        assert code_of(await broken.failure()) is Code.INVALID_ARGUMENT
        cancelled.call.cancel()
        await eventually(lambda: engine.controls.open_streams == 0)
        await eventually(lambda: calls.streams.active == 0)


async def test_ten_thousand_prompts_are_all_answered_and_harm_nobody() -> None:
    async with segmenting(BoxEngine()) as calls:
        client, other = await calls.opened(), await calls.opened()

        async def flood() -> None:
            for edit_id in range(10_000):
                await client.send(edit=prompt(edit_id, 0, boxed(1 + edit_id % 100)))
            await client.send(frame=frame(0))
            await client.call.done_writing()

        flooding = asyncio.create_task(flood())
        responses = await client.rest()
        await flooding
        edits = {r.edit.edit_id: reason_of(r.edit.status) for r in responses if r.HasField("edit")}
        assert len(edits) == 10_000
        assert set(edits.values()) == {"", "TOO_MANY_EDITS", "TOO_MANY_OBJECTS"}
        last = next(r.result for r in responses if r.HasField("result"))
        assert len(last.objects) == 64
        await other.send(frame=frame(0))
        assert kinds(await other.finish()) == ["result"]
