"""Prompts and removals in a stream: where they land, and what is refused."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2

from tests.segmenter.segment_calls import (
    HEIGHT,
    WIDTH,
    Prompt,
    SegmentCalls,
    answers_to,
    box,
    boxed,
    boxes_of,
    config,
    frame,
    play,
    prompt,
    removal,
    square_mask,
)
from tests.stream_kit import (
    StreamClient,
    code_of,
    details_of,
    reason_of,
)

Code = grpc.StatusCode
NAN = float("nan")


async def refusal_of(
    client: StreamClient, edit: segmenter_pb2.SegmentVideoEdit
) -> tuple[Code, str]:
    """What comes of an edit about the next frame."""
    await client.send(edit=edit)
    await client.send(frame=frame(1000))
    status = (await client.read("edit")).edit.status
    await client.read("result")
    return code_of(status), reason_of(status)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(boxed(), id="box"),
        pytest.param(Prompt(object_id=1, mask=square_mask()), id="mask"),
        pytest.param(
            Prompt(
                object_id=1,
                points=[media_pb2.Point(x=6, y=6), media_pb2.Point(x=60, y=40, negative=True)],
                box=box(4, 4, 14, 14),
            ),
            id="box and points",
        ),
    ],
)
async def test_prompted_object_is_followed(segment_calls: SegmentCalls, what: Prompt) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, 0, what))
    await client.send(frame=frame(0))
    edit = (await client.read("edit")).edit
    assert (edit.edit_id, edit.frame_id, edit.object_id) == (1, 0, 1)
    first = (await client.read("result")).result
    results = [first, *await play(client, range(1, 4))]
    want = [{1: (4.0 + i, 4.0, 14.0 + i, 14.0)} for i in range(4)]
    assert [boxes_of(result) for result in results] == want
    masks = [wire.mask_from_message(result.objects[0].mask) for result in results]
    assert [int(mask.sum()) for mask in masks] == [100] * 4
    assert masks[3][4:14, 7:17].all()
    assert (first.width, first.height, first.capture_time_us) == (WIDTH, HEIGHT, 0)


async def test_late_prompt_lands_where_it_was_seen(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    await play(client, range(5))
    await client.send(edit=prompt(1, frame_id=2))
    edit = (await client.read("edit")).edit
    assert not edit.HasField("status")
    (result,) = await play(client, range(5, 6))
    assert boxes_of(result) == {1: (7, 4, 17, 14)}


async def test_prompt_for_a_frame_that_has_gone_names_those_there_are(
    segment_calls: SegmentCalls,
) -> None:
    client = await segment_calls.opened()
    await play(client, range(8))
    await client.send(edit=prompt(1, frame_id=2))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "FRAME_GONE")
    told = details_of(status, error_details_pb2.ErrorInfo).metadata
    assert (told["retained"], told["window"]) == ("4..7", "4")
    assert len(await play(client, range(8, 9))) == 1


async def test_prompt_before_its_frame_waits_for_it(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, frame_id=3))
    results = [r.result for r in [*await answers_to(client, 5)] if r.HasField("result")]
    assert [sorted(boxes_of(result)) for result in results] == [[], [], [], [1], [1]]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        pytest.param(Prompt(object_id=1), "INVALID_FIELD", id="nothing in it"),
        pytest.param(boxed(0), "INVALID_FIELD", id="object 0"),
        pytest.param(boxed(1, (100, 4, 120, 14)), "OUTSIDE_FRAME", id="box outside"),
        pytest.param(boxed(1, (14, 4, 4, 14)), "INVALID_FIELD", id="box inside out"),
        pytest.param(boxed(1, (NAN, 4, 14, 14)), "INVALID_FIELD", id="NaN in a box"),
        pytest.param(
            Prompt(object_id=1, points=[media_pb2.Point(x=NAN, y=3)]),
            "INVALID_FIELD",
            id="NaN in a point",
        ),
        pytest.param(
            Prompt(object_id=1, points=[media_pb2.Point(x=WIDTH, y=3)]),
            "OUTSIDE_FRAME",
            id="point just outside",
        ),
        pytest.param(
            Prompt(object_id=1, mask=square_mask(HEIGHT + 1)),
            "MASK_SIZE",
            id="mask of another size",
        ),
        pytest.param(
            Prompt(object_id=1, mask=media_pb2.Mask(width=WIDTH, height=HEIGHT, png=b"no")),
            "MASK_UNDECODABLE",
            id="damaged mask",
        ),
        pytest.param(
            Prompt(object_id=1, points=[media_pb2.Point(x=1, y=1)] * 257),
            "INVALID_FIELD",
            id="too many points",
        ),
    ],
)
async def test_bad_prompt_is_refused_in_band(
    segment_calls: SegmentCalls, what: Prompt, reason: str
) -> None:
    client = await segment_calls.opened()
    await play(client, range(1))
    assert await refusal_of(client, prompt(1, what=what)) == (Code.INVALID_ARGUMENT, reason)
    assert boxes_of((await play(client, range(1001, 1002)))[0]) == {}


async def test_objects_are_removed_and_cleared(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    for object_id in (1, 2, 3):
        await client.send(edit=prompt(object_id, 0, boxed(object_id)))
    await client.send(edit=removal(9, 2, frame_id=1))
    clear = segmenter_pb2.ObjectRemoval(object_id=3)
    await client.send(edit=segmenter_pb2.SegmentVideoEdit(edit_id=10, frame_id=2, clear=clear))
    responses = await answers_to(client, 4)
    results = [r.result for r in responses if r.HasField("result")]
    assert [sorted(boxes_of(r)) for r in results] == [[1, 2, 3], [1, 3], [1], [1]]
    edits = [(r.edit.edit_id, r.edit.object_id) for r in responses if r.HasField("edit")]
    assert edits == [(1, 1), (2, 2), (3, 3), (9, 2), (10, 3)]


async def test_object_that_leaves_with_its_prompt_was_never_there(
    segment_calls: SegmentCalls,
) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, 0))
    await client.send(edit=removal(2, 1, frame_id=0))
    responses = await answers_to(client, 2)
    assert not any(r.edit.HasField("status") for r in responses if r.HasField("edit"))
    assert not any(boxes_of(r.result) for r in responses if r.HasField("result"))


async def test_removing_what_is_not_followed_is_refused(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    assert await refusal_of(client, removal(1, 5)) == (Code.NOT_FOUND, "UNKNOWN_OBJECT")


async def test_more_objects_than_allowed_are_refused_in_band(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened(config(max_objects=2))
    for object_id in (1, 2, 3):
        await client.send(edit=prompt(object_id, 0, boxed(object_id)))
    await client.send(edit=prompt(4, 1, boxed(2, (8, 8, 12, 12))))
    responses = await answers_to(client, 2)
    edits = {r.edit.edit_id: r.edit.status for r in responses if r.HasField("edit")}
    assert (code_of(edits[3]), reason_of(edits[3])) == (Code.RESOURCE_EXHAUSTED, "TOO_MANY_OBJECTS")
    assert not any(edits[edit_id].code for edit_id in (1, 2, 4))
    assert sorted(boxes_of(responses[-1].result)) == [1, 2]


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(
            segmenter_pb2.SegmentVideoEdit(propagate=segmenter_pb2.Propagation(to_frame_id=0)),
            id="propagate",
        ),
        pytest.param(
            segmenter_pb2.SegmentVideoEdit(clear_frame=segmenter_pb2.ObjectRemoval(object_id=1)),
            id="clear_frame",
        ),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_in_band(
    segment_calls: SegmentCalls, edit: segmenter_pb2.SegmentVideoEdit
) -> None:
    client = await segment_calls.opened()
    assert await refusal_of(client, edit) == (Code.UNIMPLEMENTED, "ACTION_UNSUPPORTED")
