"""What happens beyond the window: BLOCK, LATEST, REJECT, and clients that do not read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import grpc
import pytest
from kinemask.v1 import streams_pb2
from kinemask_chassis.settings import ChassisSettings
from kinemask_chassis.streams.edits import MAX_EDITS
from kinemask_chassis.streams.state import MAX_UNSENT

from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import (
    BLOCK,
    LATEST,
    REJECT,
    GatedCalls,
    config,
    frame,
    removal,
    serving,
)
from tests.stream_kit import code_of, eventually, frame_answers, reason_of

Code = grpc.StatusCode


async def test_block_reads_no_more_than_the_window(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=3))
    for frame_id in range(10):
        await client.send(frame=frame(frame_id))
    await eventually(lambda: gated.counted("received") == 3)
    gated.gate.let(1)
    await client.read("result")
    await eventually(lambda: gated.counted("received") == 4)
    gated.gate.let(9)
    assert frame_answers(await client.finish()) == [("result", i, i) for i in range(1, 10)]
    assert gated.counted("dropped") == 0


async def test_latest_drops_the_oldest_frame_not_begun_and_says_so(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=4, policy=LATEST))
    for frame_id in range(10):
        await client.send(frame=frame(frame_id))
    # Two are in work; of the other eight the newest two stay.
    await eventually(lambda: gated.counted("dropped") == 6)
    gated.gate.let(4)
    responses = await client.finish()
    assert frame_answers(responses) == [
        ("result", 0, 0),
        ("result", 1, 1),
        ("skipped", 2, 7),
        ("result", 8, 8),
        ("result", 9, 9),
    ]
    skipped = responses[2].skipped
    assert skipped.count == 6
    assert (code_of(skipped.status), reason_of(skipped.status)) == (Code.ABORTED, "FRAME_DROPPED")


async def test_reject_refuses_the_newest_frames(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=4, policy=REJECT))
    for frame_id in range(0, 20, 2):
        await client.send(frame=frame(frame_id))
    await eventually(lambda: gated.counted("dropped") == 6)
    gated.gate.let(4)
    responses = await client.finish()
    want = [("result", i, i) for i in (0, 2, 4, 6)] + [("skipped", 8, 18)]
    assert frame_answers(responses) == want
    skipped = responses[-1].skipped
    assert skipped.count == 6
    assert code_of(skipped.status) is Code.RESOURCE_EXHAUSTED
    assert reason_of(skipped.status) == "WINDOW_EXCEEDED"


@pytest.mark.parametrize("policy", [BLOCK, LATEST, REJECT], ids=["block", "latest", "reject"])
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("depth", [1, 3])
async def test_every_frame_is_answered_exactly_once_and_in_order(
    policy: streams_pb2.OverflowPolicy.ValueType, window: int, depth: int
) -> None:
    service = GatedService(ChassisSettings(port=0), depth=depth)
    sent = list(range(0, 600, 3))
    async with serving(service) as calls:
        client = await calls.opened(config(window, policy))

        async def feed() -> None:
            for index, frame_id in enumerate(sent):
                texts = {5: "bad", 7: "fail in step", 11: "fail in finish"}
                await client.send(frame=frame(frame_id, texts.get(index % 13, "good")))
            await client.call.done_writing()

        feeding = asyncio.create_task(feed())
        responses = await client.rest()
        await feeding
    answers = frame_answers(responses)
    covered = [i for _, first, last in answers for i in sent if first <= i <= last]
    assert covered == sent
    counts = [r.skipped.count for r in responses if r.HasField("skipped")]
    ends = [(first, last) for kind, first, last in answers if kind == "skipped"]
    assert counts == [sum(first <= i <= last for i in sent) for first, last in ends]
    assert sum(counts) == service.counted("dropped")
    assert len(sent) == service.counted("received")
    assert policy != BLOCK or not counts


@pytest.mark.parametrize("policy", [LATEST, REJECT], ids=["latest", "reject"])
async def test_flood_is_held_in_the_window_alone(
    gated: GatedService, gated_calls: GatedCalls, policy: streams_pb2.OverflowPolicy.ValueType
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=4, policy=policy))
    for frame_id in range(3000):
        await client.send(frame=frame(frame_id))
    await eventually(lambda: gated.counted("received") == 3000)
    (load,) = gated.streams.loads()
    assert load.frames == 4
    assert load.entries <= 9
    assert gated.counted("dropped") == 2996


@pytest.fixture
async def stalling() -> AsyncIterator[tuple[GatedService, GatedCalls]]:
    """A service that gives up early on clients that do not read its large results."""
    service = GatedService(ChassisSettings(port=0, stall_timeout_s=0.5), payload_bytes=200_000)
    async with serving(service) as calls:
        yield service, calls


async def test_client_that_never_reads_is_let_go(
    stalling: tuple[GatedService, GatedCalls],
) -> None:
    service, calls = stalling
    deaf = await calls.opened(config(window=4, policy=LATEST))
    for frame_id in range(60):
        await deaf.send(frame=frame(frame_id))
    await eventually(lambda: service.handlers[0].closed)
    await eventually(lambda: service.streams.active == 0)
    status = await deaf.failure()
    assert (code_of(status), reason_of(status)) == (Code.RESOURCE_EXHAUSTED, "CLIENT_STALLED")


async def test_client_that_floods_and_never_reads_is_held_to_its_bounds(
    stalling: tuple[GatedService, GatedCalls],
) -> None:
    service, calls = stalling
    deaf, other = await calls.opened(config(4, LATEST)), await calls.opened(config(4, BLOCK))
    loads = []

    async def flood() -> None:
        for number in itertools.count():
            await deaf.send(frame=frame(number))
            await deaf.send(edit=removal(number))
            loads.extend(service.streams.loads())

    flooding = asyncio.create_task(flood())
    await other.send(frame=frame(1))
    await other.read("result")
    await eventually(lambda: service.handlers[0].closed)
    await eventually(lambda: service.streams.active == 1)
    assert max(load.frames for load in loads) <= 4
    assert max(load.entries for load in loads) <= 9
    assert max(load.edits for load in loads) <= MAX_EDITS
    assert max(load.unsent for load in loads) <= MAX_UNSENT + MAX_EDITS
    await other.send(frame=frame(2))
    assert frame_answers(await other.finish()) == [("result", 2, 2)]
    flooding.cancel()
    await asyncio.wait([flooding])


async def test_client_that_sends_no_config_is_let_go() -> None:
    service = GatedService(ChassisSettings(port=0, stall_timeout_s=0.2))
    async with serving(service) as calls:
        status = await calls.call().failure()
        assert (code_of(status), reason_of(status)) == (Code.RESOURCE_EXHAUSTED, "CLIENT_STALLED")
