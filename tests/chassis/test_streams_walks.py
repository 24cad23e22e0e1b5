"""Walks: edits that are answered in many steps, beside the frames."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from kinemask_chassis.streams.state import MAX_UNSENT
from kinemask_chassis.streams.walks import MAX_WALKS

from tests.chassis.gated_service import FAILING_WALK, GatedService
from tests.chassis.gated_streams import (
    SNAPSHOT,
    GatedCalls,
    config,
    frame,
    propagation,
    removal,
    serving,
    stop,
)
from tests.stream_kit import StreamClient, code_of, eventually, kinds, reason_of

Code = grpc.StatusCode


async def played(calls: GatedCalls, frames: int) -> StreamClient:
    """A stream that was told of so many frames."""
    client = await calls.opened()
    for frame_id in range(frames):
        await client.send(frame=frame(frame_id))
        await client.read("result")
    return client


def walked(responses: list[Any], edit_id: int) -> list[int]:
    """Frames that a walk has told of."""
    steps = (r.propagated for r in responses if r.HasField("propagated"))
    return [s.result.frame_id for s in steps if s.edit_id == edit_id and s.HasField("result")]


def end_of(responses: list[Any], edit_id: int) -> Any:
    """The last word about a walk; it has to be the only last one."""
    steps = [r.propagated for r in responses if r.HasField("propagated")]
    (last,) = [step for step in steps if step.edit_id == edit_id and step.last]
    assert [step for step in steps if step.edit_id == edit_id][-1] == last
    return last


async def test_walk_is_acknowledged_and_then_told_step_by_step(gated_calls: GatedCalls) -> None:
    client = await played(gated_calls, 4)
    await client.send(edit=propagation(1, 3, 1))
    responses = await client.finish()
    assert kinds(responses) == ["edit", "propagated", "propagated", "propagated"]
    assert walked(responses, 1) == [3, 2, 1]
    assert not end_of(responses, 1).HasField("status")


async def test_walk_of_a_frame_to_come_begins_behind_it(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(edit=propagation(1, 2, 0))
    for frame_id in range(3):
        await client.send(frame=frame(frame_id))
    responses = await client.finish()
    assert walked(responses, 1) == [2, 1, 0]
    told = kinds(responses)
    last_result = len(told) - 1 - told[::-1].index("result")
    assert told.index("propagated") > last_result


async def test_walks_and_frames_take_turns(gated: GatedService, gated_calls: GatedCalls) -> None:
    client = await played(gated_calls, 1)
    gated.gate.shut()
    gated.walk_gate.shut()
    await client.send(edit=propagation(1, 0, 9))
    await eventually(lambda: gated.walk_gate.waiting == 1)
    for frame_id in range(1, 4):
        await client.send(frame=frame(frame_id))
    await eventually(lambda: gated.counted("received") == 4)
    order = []
    for _ in range(6):
        await eventually(lambda: gated.walk_gate.waiting + gated.gate.waiting == 1)
        turn = gated.gate if gated.gate.waiting else gated.walk_gate
        order.append("frame" if turn is gated.gate else "walk")
        turn.let(1)
        await eventually(lambda turn=turn: not turn.waiting)  # type: ignore[misc]  # bound now
    assert order == ["walk", "frame"] * 3


async def test_stopped_walk_ends_as_cancelled_and_what_was_sent_stays(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    client = await played(gated_calls, 1)
    gated.walk_gate.shut()
    await client.send(edit=propagation(1, 0, 50))
    await eventually(lambda: gated.walk_gate.waiting == 1)
    await client.send(edit=stop(2, 1))
    await eventually(lambda: gated.streams.loads()[0].edits == 1)
    gated.walk_gate.let(1)
    responses = await client.finish()
    last = end_of(responses, 1)
    assert (code_of(last.status), reason_of(last.status)) == (Code.CANCELLED, "STOPPED")
    assert walked(responses, 1) == [0]
    stopped = next(r.edit for r in responses if r.HasField("edit") and r.edit.edit_id == 2)
    assert not stopped.HasField("status")


async def test_walk_that_waits_for_its_frame_can_be_stopped(gated_calls: GatedCalls) -> None:
    client = await played(gated_calls, 1)
    await client.send(edit=propagation(1, 5, 0))
    await client.send(edit=stop(2, 1))
    responses = await client.finish()
    edits = {r.edit.edit_id: r.edit for r in responses}
    assert reason_of(edits[1].status) == "STOPPED"
    assert not edits[2].HasField("status")


@pytest.mark.parametrize(
    "unknown", [pytest.param(7, id="no edit"), pytest.param(1, id="an edit without a walk")]
)
async def test_stop_of_what_is_no_walk_is_refused(gated_calls: GatedCalls, unknown: int) -> None:
    client = await played(gated_calls, 1)
    await client.send(edit=removal(1, frame_id=9))
    await client.send(edit=stop(2, unknown))
    refused = (await client.read("edit")).edit
    status = refused.status
    assert refused.edit_id == 2
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_PROPAGATION")


async def test_failing_walk_says_why_and_the_stream_lives(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(frame=frame(FAILING_WALK - 1))
    await client.send(edit=propagation(1, FAILING_WALK - 1, FAILING_WALK + 5))
    await client.send(frame=frame(FAILING_WALK + 9))
    responses = await client.finish()
    assert walked(responses, 1) == [FAILING_WALK - 1]
    status = end_of(responses, 1).status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "FRAME_GONE")
    assert kinds(responses).count("result") == 2


async def test_too_many_walks_are_refused(gated: GatedService, gated_calls: GatedCalls) -> None:
    client = await played(gated_calls, 1)
    gated.walk_gate.shut()
    for edit_id in range(MAX_WALKS + 1):
        await client.send(edit=propagation(edit_id, 0, 0))
    await eventually(lambda: gated.streams.loads()[0].edits == MAX_WALKS)
    gated.walk_gate.release_all()
    responses = await client.finish()
    edits = [r.edit for r in responses if r.HasField("edit")]
    assert [reason_of(e.status) for e in edits] == [""] * MAX_WALKS + ["TOO_MANY_PROPAGATIONS"]
    ended = [r.propagated.edit_id for r in responses if r.HasField("propagated")]
    assert ended == list(range(MAX_WALKS))


async def test_walk_waits_for_a_client_that_does_not_read(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    # The gate counts steps: a walk that did not wait would take all of them.
    client, other = await played(gated_calls, 1), await played(gated_calls, 1)
    await client.send(edit=propagation(1, 0, 2_000_000))
    loads = gated.streams.loads
    await eventually(lambda: any(load.unsent for load in loads()))
    for frame_id in range(1, 20):
        await other.send(frame=frame(frame_id))
        await other.read("result")
        assert all(load.unsent <= MAX_UNSENT for load in loads())
    client.call.cancel()
    await eventually(lambda: gated.streams.active == 1)


async def test_snapshot_beside_a_walk_does_not_hold_it(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    client = await played(gated_calls, 3)
    gated.walk_gate.shut()
    await client.send(edit=propagation(1, 2, 0))
    await client.send(snapshot=SNAPSHOT)
    await client.send(frame=frame(3))
    await eventually(lambda: gated.walk_gate.waiting == 1)
    gated.walk_gate.let(3)
    responses = await client.finish()
    assert walked(responses, 1) == [2, 1, 0]
    token = next(r.snapshot.resume_token for r in responses if r.HasField("snapshot"))
    async with serving(GatedService(gated.settings.model_copy(update={"port": 0}))) as there:
        second = await there.opened(config(resume_token=token))
        await second.send(frame=frame(4))
        assert kinds(await second.finish()) == ["result"]


async def test_leaving_server_ends_walks_and_says_so(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    client = await played(gated_calls, 1)
    gated.walk_gate.shut()
    await client.send(edit=propagation(1, 0, 9))
    await eventually(lambda: gated.walk_gate.waiting == 1)
    draining = asyncio.create_task(gated_calls.server.drain(grace_s=20))
    await eventually(lambda: gated.streams.loads()[0].unsent == 0)
    gated.walk_gate.release_all()
    responses = await client.finish()
    await draining
    last = end_of(responses, 1)
    assert (code_of(last.status), reason_of(last.status)) == (Code.ABORTED, "PROPAGATION_CUT")
    assert kinds(responses)[-1] == "go_away"


async def test_cancelled_client_frees_a_stream_with_a_walk(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    client = await played(gated_calls, 1)
    gated.walk_gate.shut()
    await client.send(edit=propagation(1, 0, 9))
    await eventually(lambda: gated.walk_gate.waiting == 1)
    client.call.cancel()
    await eventually(lambda: gated.streams.active == 0)
    assert gated.handlers[0].closed == 1
