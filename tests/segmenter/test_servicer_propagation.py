"""Propagation over the wire, with the engine that needs no weights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import segmenter_pb2
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.flow.config import FlowConfig

from benchmarks.moving import moving_frames, object_box
from tests.segmenter.segment_calls import (
    Edit,
    Prompt,
    SegmentCalls,
    box,
    config,
    frame,
    prompt,
    removal,
    segmenting,
)
from tests.stream_kit import StreamClient, code_of, details_of, eventually, kinds, reason_of

Code = grpc.StatusCode
WIDTH, HEIGHT = 160, 120
PICTURES = list(moving_frames(80, WIDTH, HEIGHT))[:14]
WINDOW = 10
BOX = Prompt(object_id=1, box=box(*object_box(WIDTH, HEIGHT)))


@pytest.fixture
async def flow_calls() -> AsyncIterator[SegmentCalls]:
    async with segmenting(FlowEngine(FlowConfig(retained_frames=WINDOW), threads=1)) as calls:
        yield calls


def propagation(edit_id: int, frame_id: int | None, to_frame_id: int, *object_ids: int) -> Edit:
    walk = segmenter_pb2.Propagation(to_frame_id=to_frame_id, object_ids=object_ids)
    return Edit(edit_id=edit_id, frame_id=frame_id, propagate=walk)


async def show(client: StreamClient, frames: range) -> list[segmenter_pb2.SegmentVideoResult]:
    """Send frames one after the other's result; answers to edits on the way are passed over."""
    results = []
    for number in frames:
        await client.send(frame=frame(number, wire.image_to_message(PICTURES[number])))
        while (answer := await client.read()).WhichOneof("message") != "result":
            assert not answer.edit.HasField("status"), answer
        results.append(answer.result)
    return results


async def walk(client: StreamClient, edit: Edit) -> list[Any]:
    """Ask for a propagation; its answers, the last one included."""
    await client.send(edit=edit)
    assert not (await client.read("edit")).edit.HasField("status")
    steps: list[Any] = []
    while not steps or not steps[-1].last:
        steps.append((await client.read("propagated")).propagated)
    return steps


def mask_of(result: segmenter_pb2.SegmentVideoResult, object_id: int = 1) -> Any:
    """The object's mask; empty where it is not there."""
    found = [each for each in result.objects if each.object_id == object_id]
    empty = np.zeros((HEIGHT, WIDTH), np.bool_)
    return wire.mask_from_message(found[0].mask) if found and found[0].area_px else empty


def iou(one: Any, other: Any) -> float:
    return float((one & other).sum()) / max(1.0, float((one | other).sum()))


async def test_masks_are_carried_back_over_frames_seen_before_the_prompt(
    flow_calls: SegmentCalls,
) -> None:
    forward = await flow_calls.opened()
    await forward.send(edit=prompt(1, 0, BOX))
    known = await show(forward, range(8))
    client = await flow_calls.opened()
    await show(client, range(7))
    await client.send(edit=prompt(1, 7, Prompt(object_id=1, mask=known[7].objects[0].mask)))
    await show(client, range(7, 8))
    steps = await walk(client, propagation(2, 7, 2))
    assert [step.result.frame_id for step in steps] == [7, 6, 5, 4, 3, 2]
    assert [step.result.capture_time_us for step in steps] == [1000 * n for n in range(7, 1, -1)]
    assert all(iou(mask_of(s.result), mask_of(known[s.result.frame_id])) > 0.6 for s in steps)


async def test_masks_to_come_are_as_if_nothing_was_propagated(flow_calls: SegmentCalls) -> None:
    results = []
    for walks in (False, True):
        client = await flow_calls.opened()
        await client.send(edit=prompt(1, 0, BOX))
        await show(client, range(6))
        if walks:
            assert len(await walk(client, propagation(2, 5, 0))) == 6
            assert len(await walk(client, propagation(3, 1, 5))) == 5
        results.append([mask_of(result) for result in await show(client, range(6, 12))])
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))


async def test_only_the_objects_asked_for_are_shown(flow_calls: SegmentCalls) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await client.send(edit=prompt(2, 0, Prompt(object_id=2, box=box(2, 2, 20, 20))))
    await show(client, range(4))
    for asked in ([2], []):
        steps = await walk(client, propagation(3, 3, 1, *asked))
        ids = [[each.object_id for each in step.result.objects] for step in steps]
        assert ids == [asked or [1, 2]] * 3


@pytest.mark.parametrize(
    ("start", "end"), [pytest.param(9, 1, id="end gone"), pytest.param(0, 9, id="start gone")]
)
async def test_frames_outside_the_window_are_refused_by_its_length(
    flow_calls: SegmentCalls, start: int, end: int
) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(WINDOW + 2))
    await client.send(edit=propagation(2, start, end))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "FRAME_GONE")
    told = details_of(status, error_details_pb2.ErrorInfo).metadata
    assert (told["window"], told["retained"]) == ("10", "2..11")
    assert f"window: {WINDOW} frames" in status.message


async def test_a_longer_window_can_be_asked_for(flow_calls: SegmentCalls) -> None:
    client = flow_calls.call()
    started = await client.open(config(retained_frames=WINDOW + 3))
    assert started.config.retained_frames == WINDOW + 3
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(WINDOW + 3))
    steps = await walk(client, propagation(2, WINDOW + 2, 0))
    assert len(steps) == WINDOW + 3


async def test_a_window_over_the_cap_is_refused(flow_calls: SegmentCalls) -> None:
    client = flow_calls.call()
    await client.send(config=config(retained_frames=10_000))
    status = await client.failure()
    assert code_of(status) is Code.INVALID_ARGUMENT
    assert "retained_frames: expected at most 256, got 10000" in status.message


async def test_a_frame_not_sent_yet_cannot_be_gone_over(flow_calls: SegmentCalls) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await client.send(edit=propagation(2, 2, 5))
    await show(client, range(3))
    step = (await client.read("propagated")).propagated
    assert (step.edit_id, step.last, reason_of(step.status)) == (2, True, "FRAME_GONE")


async def test_nothing_prompted_cannot_be_propagated(flow_calls: SegmentCalls) -> None:
    client = await flow_calls.opened()
    await show(client, range(2))
    await client.send(edit=propagation(1, 1, 0))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.FAILED_PRECONDITION, "NO_OBJECTS")


async def test_unknown_object_cannot_be_propagated(flow_calls: SegmentCalls) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(2))
    await client.send(edit=propagation(2, 1, 0, 1, 9))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_OBJECT")


async def test_an_object_removed_on_the_way_is_not_shown_further(
    flow_calls: SegmentCalls,
) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await client.send(edit=prompt(2, 0, Prompt(object_id=2, box=box(2, 2, 20, 20))))
    await show(client, range(6))
    await client.send(edit=removal(4, 2, 5))
    await client.send(edit=propagation(3, 5, 0))
    responses = await client.finish()
    steps = [r.propagated for r in responses if r.HasField("propagated")]
    assert [[o.object_id for o in step.result.objects] for step in steps] == [[1]] * 6


async def test_a_walk_is_told_beside_results_of_new_frames(flow_calls: SegmentCalls) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(8))
    await client.send(edit=propagation(2, 7, 0))
    for number in (8, 9, 10):
        await client.send(frame=frame(number, wire.image_to_message(PICTURES[number])))
    responses = await client.finish()
    assert sorted(kinds(responses)) == sorted(["edit"] + ["propagated"] * 8 + ["result"] * 3)
    # It held its frames although the window has moved on.
    steps = [r.propagated for r in responses if r.HasField("propagated")]
    assert [step.result.frame_id for step in steps] == list(range(7, -1, -1))


async def test_what_an_engine_can_do_is_said_before_it_is_asked(flow_calls: SegmentCalls) -> None:
    started = await flow_calls.call().open(segmenter_pb2.SegmentVideoConfig())
    assert list(started.edits) == ["prompt", "remove", "clear", "propagate", "stop"]
    models = await flow_calls.stub.ListModels(segmenter_pb2.SegmenterServiceListModelsRequest())
    assert list(models.models[0].edits) == list(started.edits)
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(2))
    clear = segmenter_pb2.ObjectRemoval(object_id=1)
    await client.send(edit=Edit(edit_id=2, frame_id=0, clear_frame=clear))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.UNIMPLEMENTED, "ACTION_UNSUPPORTED")
    assert "flow engine cannot clear_frame" in status.message


async def test_a_client_that_leaves_in_the_middle_frees_its_stream(
    flow_calls: SegmentCalls,
) -> None:
    client = await flow_calls.opened()
    await client.send(edit=prompt(1, 0, BOX))
    await show(client, range(8))
    await client.send(edit=propagation(2, 7, 0))
    await client.read("edit")
    client.call.cancel()
    await eventually(lambda: flow_calls.streams.active == 0)
