"""The SDK's propagation against a real segmenter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import kinemask
import pytest
from kinemask_chassis.streams import walks
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.flow.config import FlowConfig

from benchmarks.moving import moving_frames, object_box
from tests.segmenter.segment_calls import SegmentCalls, segmenting
from tests.stream_kit import eventually

WIDTH, HEIGHT = 160, 120
PICTURES = list(moving_frames(80, WIDTH, HEIGHT))[:12]
BOX = object_box(WIDTH, HEIGHT)
WINDOW = 10


@pytest.fixture
async def flow_server() -> AsyncIterator[SegmentCalls]:
    async with segmenting(FlowEngine(FlowConfig(retained_frames=WINDOW), threads=1)) as calls:
        yield calls


async def played(stream: kinemask.AsyncVideoStream, count: int) -> None:
    """Send so many frames with an object from the first on, and read their answers."""
    stream.prompt(1, box=BOX, frame_id=0)
    for number in range(count):
        await stream.send(PICTURES[number])
        assert (await anext(aiter(stream))).ok


async def test_frames_come_as_they_are_found(flow_server: SegmentCalls) -> None:
    async with (
        kinemask.AsyncClient(flow_server.server.address) as client,
        client.segment_video() as stream,
    ):
        info = await stream.open()
        assert "propagate" in info.edits
        await played(stream, 6)
        steps = stream.start_propagation(5, 2)
        found = [step async for step in steps]
        assert [step.frame_id for step in found] == [5, 4, 3, 2]
        assert all(step.mask_of(1) is not None for step in found)
        assert (steps.done, steps.stopped) == (True, False)
        assert [step.frame_id for step in await stream.propagate(2, 4, [1])] == [2, 3, 4]


async def test_stopped_propagation_ends_early(flow_server: SegmentCalls) -> None:
    async with (
        kinemask.AsyncClient(flow_server.server.address) as client,
        client.segment_video() as stream,
    ):
        await played(stream, WINDOW)
        # The first ones hold the stream's turn, so that the last one is stopped before it ends.
        others = [stream.start_propagation(WINDOW - 1, 0) for _ in range(3)]
        last = stream.start_propagation(WINDOW - 1, 0)
        await last.stop()
        assert (last.done, last.stopped) == (True, True)
        assert len([step async for step in last]) < WINDOW
        for other in others:
            assert len([step async for step in other]) == WINDOW
        await last.stop()
        await stream.send(PICTURES[0])
        assert (await anext(aiter(stream))).ok


async def test_refused_propagation_raises(flow_server: SegmentCalls) -> None:
    async with (
        kinemask.AsyncClient(flow_server.server.address) as client,
        client.segment_video() as stream,
    ):
        await played(stream, 3)
        with pytest.raises(kinemask.NotFoundError, match=f"window: {WINDOW} frames"):
            await stream.propagate(2, 9)
        with pytest.raises(kinemask.UnimplementedError, match="flow engine cannot clear_frame"):
            await stream.clear_frame(1, 0)
        many = [stream.start_propagation(2, 0) for _ in range(walks.MAX_WALKS + 40)]
        results = await asyncio.gather(*(_all(each) for each in many), return_exceptions=True)
        refused = [each for each in results if isinstance(each, kinemask.ResourceExhaustedError)]
        assert len([each for each in results if each == 3]) + len(refused) == len(many)


async def _all(steps: kinemask.AsyncPropagation) -> int:
    return len([step async for step in steps])


async def test_leaving_server_ends_a_propagation(flow_server: SegmentCalls) -> None:
    async with kinemask.AsyncClient(flow_server.server.address) as client:
        stream = client.segment_video()
        await played(stream, WINDOW)
        steps = [stream.start_propagation(WINDOW - 1, 0) for _ in range(walks.MAX_WALKS)]
        await eventually(lambda: any(load.unsent for load in flow_server.streams.loads()))
        draining = asyncio.create_task(flow_server.server.drain(grace_s=5))
        with pytest.raises(kinemask.KinemaskError) as ended:
            for each in steps:
                await _all(each)
        assert ended.value.reason in ("PROPAGATION_CUT", "SHUTTING_DOWN", "UNAVAILABLE")
        await stream.aclose()
        await draining


async def test_ordinary_code_propagates_and_stops(flow_server: SegmentCalls) -> None:
    def work() -> tuple[list[int], list[int], bool]:
        with (
            kinemask.Client(flow_server.server.address) as client,
            client.segment_video(kinemask.VideoConfig(retained_frames=WINDOW)) as stream,
        ):
            stream.prompt(1, box=BOX, frame_id=0)
            for picture in PICTURES[:5]:
                stream.send(picture)
                next(iter(stream))
            whole = [step.frame_id for step in stream.propagate(4, 1)]
            steps = stream.start_propagation(4, 0)
            first = next(iter(steps))
            steps.stop()
            return whole, [first.frame_id, *(step.frame_id for step in steps)], steps.done

    whole, stopped, done = await asyncio.to_thread(work)
    assert whole == [4, 3, 2, 1]
    assert stopped == [4, 3, 2, 1, 0][: len(stopped)]
    assert done
