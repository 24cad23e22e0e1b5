"""Leaving and going on: snapshots, GoAway, resume tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from kinemask.v1 import streams_pb2
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import (
    BLOCK,
    LATEST,
    REJECT,
    SNAPSHOT,
    GatedCalls,
    config,
    frame,
    removal,
    serving,
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


def another() -> GatedService:
    return GatedService(ChassisSettings(port=0))


async def token_after(client: StreamClient, frames: range) -> bytes:
    for frame_id in frames:
        await client.send(frame=frame(frame_id))
        await client.read("result")
    await client.send(snapshot=SNAPSHOT)
    token: bytes = (await client.read("snapshot")).snapshot.resume_token
    return token


async def test_snapshots_come_every_n_frames_behind_their_frame(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened(config(every=2))
    for frame_id in range(5):
        await client.send(frame=frame(frame_id))
    responses = await client.finish()
    want = ["result", "result", "snapshot", "result", "result", "snapshot", "result"]
    assert kinds(responses) == want
    assert [r.snapshot.frame_id for r in responses if r.HasField("snapshot")] == [1, 3]


async def test_snapshot_asked_for_comes_behind_the_frame_answered_next(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened()
    await client.send(frame=frame(0))
    await client.send(snapshot=SNAPSHOT)
    await client.send(frame=frame(1))
    await eventually(lambda: gated.counted("received") == 2)
    gated.gate.let(2)
    assert kinds(await client.finish()) == ["result", "snapshot", "result"]


async def test_snapshot_never_overtakes_the_answers_it_covers(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    # The frame it is asked behind fails, so that it is due only when all was told.
    gated.gate.shut()
    client = await gated_calls.opened(config(window=8))
    for frame_id in range(4):
        await client.send(frame=frame(frame_id, "bad" if frame_id == 3 else "good"))
    await client.send(snapshot=SNAPSHOT)
    await client.call.done_writing()
    await eventually(lambda: gated.counted("received") == 4)
    gated.gate.let(3)
    responses = await client.rest()
    assert kinds(responses) == ["result", "result", "result", "error", "snapshot"]
    assert responses[-1].snapshot.frame_id == 2


async def test_stream_goes_on_from_a_token(gated_calls: GatedCalls) -> None:
    first = await gated_calls.opened()
    token = await token_after(first, range(5))
    async with serving(another()) as elsewhere:
        second = elsewhere.call()
        started = await second.open(config(resume_token=token))
        assert started.terms.resumed_after_frame_id == 4
        assert not started.config.stream.resume_token
        await second.send(frame=frame(5))
        assert (await second.finish())[0].result.width == 6


async def test_resumed_stream_takes_no_frame_its_token_has_seen(gated_calls: GatedCalls) -> None:
    token = await token_after(await gated_calls.opened(), range(5))
    second = await gated_calls.opened(config(resume_token=token))
    await second.send(frame=frame(4))
    assert reason_of(await second.failure()) == "FRAME_ID_NOT_INCREASING"


async def test_options_of_the_stream_may_change_with_a_move(gated_calls: GatedCalls) -> None:
    token = await token_after(await gated_calls.opened(config(window=2)), range(2))
    moved = await gated_calls.call().open(config(7, LATEST, every=3, resume_token=token))
    assert (moved.terms.window, moved.terms.policy) == (7, LATEST)


async def test_token_of_another_config_is_refused(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    first = await gated_calls.opened()
    token = await token_after(first, range(2))
    other = gated_calls.call()
    await other.send(config=config(model="gated", resume_token=token))
    status = await other.failure()
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, "RESUME_TOKEN_MISMATCH")
    assert gated.streams.active == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty body", "garbage"])
async def test_damaged_token_is_data_loss(
    gated: GatedService, gated_calls: GatedCalls, damage: str
) -> None:
    token = await token_after(await gated_calls.opened(), range(2))
    damaged = {
        "flip": token[:50] + bytes([token[50] ^ 1]) + token[51:],
        "cut": token[:-1],
        "empty body": token[:37],
        "garbage": b"garbage" * 20,
    }[damage]
    other = gated_calls.call()
    await other.send(config=config(resume_token=damaged))
    status = await other.failure()
    assert (code_of(status), reason_of(status)) == (Code.DATA_LOSS, "RESUME_TOKEN_DAMAGED")
    assert gated.streams.active == 1


async def feed(client: StreamClient, frames: list[int]) -> None:
    """Send until the stream ends; what was not answered is sent again elsewhere."""
    try:
        for frame_id in frames:
            await client.send(frame=frame(frame_id))
        await client.call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the server left while frames were on their way


async def play_and_move(
    here: GatedCalls, there: GatedCalls, policy: streams_pb2.OverflowPolicy.ValueType
) -> list[Any]:
    """Send 60 frames to one server, which leaves after some; go on at the other."""
    frames = list(range(60))
    client = await here.opened(config(4, policy))
    feeding = asyncio.create_task(feed(client, frames))
    responses = [await client.read() for _ in range(12)]
    draining = asyncio.create_task(here.server.drain(grace_s=20))
    while not responses[-1].HasField("go_away"):
        responses.append(await client.read())
    client.call.cancel()
    await asyncio.wait([draining, feeding])
    away = responses.pop().go_away
    moved = await there.opened(config(4, policy, resume_token=away.resume_token))
    left = [frame_id for frame_id in frames if frame_id > away.last_frame_id]
    again = asyncio.create_task(feed(moved, left))
    responses += await moved.rest()
    await again
    return responses


@pytest.mark.parametrize("policy", [BLOCK, LATEST, REJECT], ids=["block", "latest", "reject"])
async def test_drain_loses_no_frame(
    gated: GatedService, gated_calls: GatedCalls, policy: streams_pb2.OverflowPolicy.ValueType
) -> None:
    async with serving(another()) as there:
        responses = await play_and_move(gated_calls, there, policy)
    answers = frame_answers(responses)
    assert [i for _, first, last in answers for i in range(first, last + 1)] == list(range(60))
    # The state moved along: every step was counted, whichever server took it.
    steps = [r.result.width for r in responses if r.HasField("result")]
    assert steps == list(range(1, len(steps) + 1))
    assert gated.streams.active == 0


async def test_drain_finishes_frames_in_work_and_cuts_those_that_wait(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=8))
    for frame_id in range(6):
        await client.send(frame=frame(frame_id))
    await client.send(edit=removal(1, frame_id=5))
    await eventually(lambda: gated.counted("received") == 6)
    draining = asyncio.create_task(gated_calls.server.drain(grace_s=20))
    await eventually(lambda: gated.streams.loads()[0].frames == 2)
    gated.gate.let(2)
    responses = await client.finish()
    await draining
    assert kinds(responses) == ["result", "result", "go_away"]
    assert responses[-1].go_away.last_frame_id == 1


async def test_drain_before_any_frame_sends_the_client_away_without_a_token(
    gated_calls: GatedCalls,
) -> None:
    client = await gated_calls.opened()
    draining = asyncio.create_task(gated_calls.server.drain(grace_s=20))
    away = (await client.read("go_away")).go_away
    assert not away.resume_token
    assert not away.HasField("last_frame_id")
    await client.finish()
    await draining


async def test_drain_of_a_resumed_stream_hands_its_state_on(gated_calls: GatedCalls) -> None:
    token = await token_after(await gated_calls.opened(), range(3))
    async with serving(another()) as second, serving(another()) as third:
        passing = await second.opened(config(resume_token=token))
        draining = asyncio.create_task(second.server.drain(grace_s=20))
        away = (await passing.read("go_away")).go_away
        await passing.finish()
        await draining
        last = await third.opened(config(resume_token=away.resume_token))
        await last.send(frame=frame(3))
        assert (await last.finish())[0].result.width == 4


async def test_drain_ends_streams_whose_client_does_not_go(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    await gated_calls.opened()
    await gated_calls.server.drain(grace_s=0.2)
    await eventually(lambda: gated.streams.active == 0)
    assert gated.handlers[0].closed == 1


async def test_leaving_service_takes_no_new_stream(gated: GatedService) -> None:
    async with serving(gated) as calls:
        await gated.streams.drain(0.1)
        client = calls.call()
        await client.send(config=config())
        assert code_of(await client.failure()) is Code.UNAVAILABLE
