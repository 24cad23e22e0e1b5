"""Edits at any time: where they land, how each is answered, and how many may wait."""

from __future__ import annotations

import grpc
import pytest
from kinemask.v1 import segmenter_pb2
from kinemask_chassis.streams.edits import MAX_EDIT_BYTES, MAX_EDITS, EditBook, PendingEdit

from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import GatedCalls, config, frame, removal
from tests.stream_kit import code_of, eventually, frame_answers, kinds, reason_of

Code = grpc.StatusCode


async def test_edit_without_a_frame_lands_on_the_next_one_read(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened()
    for frame_id in (0, 1):
        await client.send(frame=frame(frame_id))
    await client.send(edit=removal(5))
    await client.send(frame=frame(2))
    await eventually(lambda: gated.counted("received") == 3)
    gated.gate.let(3)
    responses = await client.finish()
    edit = next(r.edit for r in responses if r.HasField("edit"))
    assert (edit.edit_id, edit.frame_id, edit.object_id) == (5, 2, 7)
    assert not edit.HasField("status")
    assert [r.result.height for r in responses if r.HasField("result")] == [0, 0, 1]


async def test_edit_of_a_frame_to_come_waits_for_it(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(edit=removal(1, frame_id=3))
    for frame_id in range(5):
        await client.send(frame=frame(frame_id))
    responses = await client.finish()
    assert [r.result.height for r in responses if r.HasField("result")] == [0, 0, 0, 1, 1]
    # Said before the frame that shows it.
    assert kinds(responses).index("edit") <= 3
    assert next(r.edit.frame_id for r in responses if r.HasField("edit")) == 3


async def test_edit_of_a_past_frame_lands_there_at_once(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    for frame_id in range(3):
        await client.send(frame=frame(frame_id))
        await client.read("result")
    await client.send(edit=removal(4, frame_id=2))
    edit = (await client.read("edit")).edit
    assert (edit.edit_id, edit.frame_id) == (4, 2)
    assert not edit.HasField("status")


async def test_edit_of_a_frame_that_has_gone_is_refused(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    for frame_id in range(6):
        await client.send(frame=frame(frame_id))
        await client.read("result")
    await client.send(edit=removal(4, frame_id=1))
    status = (await client.read("edit")).edit.status
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "FRAME_GONE")


async def test_edit_of_a_failed_frame_is_not_confirmed(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(edit=removal(1, frame_id=0))
    await client.send(frame=frame(0, "fail in step"))
    responses = await client.finish()
    assert sorted(kinds(responses)) == ["edit", "error"]
    refused = next(r.edit for r in responses if r.HasField("edit"))
    assert reason_of(refused.status) == "ASKED_FOR"


async def test_edit_of_an_undecodable_frame_is_tried_on_what_is_retained(
    gated_calls: GatedCalls,
) -> None:
    client = await gated_calls.opened()
    await client.send(edit=removal(1, frame_id=1))
    for frame_id, text in enumerate(["good", "bad", "good"]):
        await client.send(frame=frame(frame_id, text))
    responses = await client.finish()
    assert sorted(kinds(responses)) == ["edit", "error", "result", "result"]
    assert next(r.edit.frame_id for r in responses if r.HasField("edit")) == 1


async def test_edits_without_their_frame_are_refused_at_the_end(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(frame=frame(0))
    await client.send(edit=removal(1, frame_id=9))
    await client.send(edit=removal(2))
    responses = await client.finish()
    edits = {r.edit.edit_id: r.edit for r in responses if r.HasField("edit")}
    assert sorted(edits) == [1, 2]
    assert {reason_of(edit.status) for edit in edits.values()} == {"FRAME_GONE"}


async def test_edit_that_breaks_a_limit_is_refused_in_band(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(edit=segmenter_pb2.SegmentVideoEdit(edit_id=3))
    await client.send(frame=frame(0))
    responses = await client.finish()
    assert frame_answers(responses) == [("result", 0, 0)]
    edit = next(r.edit for r in responses if r.HasField("edit"))
    assert (edit.edit_id, code_of(edit.status)) == (3, Code.INVALID_ARGUMENT)


async def test_ten_thousand_edits_are_all_answered(gated_calls: GatedCalls) -> None:
    client, other = await gated_calls.opened(), await gated_calls.opened()
    for edit_id in range(MAX_EDITS):
        await client.send(edit=removal(edit_id, frame_id=1))
    refused = 0
    for edit_id in range(MAX_EDITS, 10_000):
        await client.send(edit=removal(edit_id, frame_id=1))
        answer = (await client.read("edit")).edit
        assert answer.edit_id == edit_id
        assert reason_of(answer.status) == "TOO_MANY_EDITS"
        refused += 1
    await client.send(frame=frame(1))
    applied = [r.edit for r in await client.finish() if r.HasField("edit")]
    assert not any(edit.HasField("status") for edit in applied)
    assert (len(applied), refused) == (MAX_EDITS, 10_000 - MAX_EDITS)
    await other.send(frame=frame(0))
    assert frame_answers(await other.finish()) == [("result", 0, 0)]


async def test_edits_flow_although_the_client_reads_late(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened(config(window=2))
    for edit_id in range(200):
        await client.send(edit=removal(edit_id, frame_id=0))
    await client.send(frame=frame(0))
    await client.call.done_writing()
    responses = await client.rest()
    assert sorted(r.edit.edit_id for r in responses if r.HasField("edit")) == list(range(200))


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        pytest.param(MAX_EDIT_BYTES + 1, 1, id="one alone may be as large as a message"),
        pytest.param(MAX_EDIT_BYTES // 2 - 100, 2, id="two halves fit"),
        pytest.param(MAX_EDIT_BYTES // 2 + 100, 1, id="two larger ones do not"),
    ],
)
def test_waiting_edits_are_bounded_in_bytes(size: int, kept: int) -> None:
    mask = segmenter_pb2.ObjectPrompt(object_id=1)
    mask.mask.bits = bytes(size)
    large = segmenter_pb2.SegmentVideoEdit(prompt=mask)
    book: EditBook[segmenter_pb2.SegmentVideoEdit] = EditBook()
    taken = [book.add(PendingEdit(large, 5, -1), -1) for _ in range(3)]
    assert sum(taken) == kept
    assert len(book.take_due(5)) == kept
    assert book.add(PendingEdit(large, 6, -1), -1)
