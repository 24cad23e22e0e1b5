"""The segmenter's rpcs on a real server with an injected engine: prompts, masks, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2

from tests.segmenter.box_engine import RETAINED, BoxEngine
from tests.segmenter.segment_calls import (
    HEIGHT,
    PICTURE,
    WIDTH,
    Prompt,
    SegmentCalls,
    box,
    boxed,
    boxes_of,
    config,
    frame,
    picture,
    prompt,
    removal,
    segmenting,
)
from tests.stream_kit import (
    StreamClient,
    code_of,
    details_of,
    frame_answers,
    kinds,
    reason_of,
    status_of,
)

Code = grpc.StatusCode
NAN = float("nan")
RLE, PNG, BITS, NONE = (
    media_pb2.MASK_ENCODING_RLE,
    media_pb2.MASK_ENCODING_PNG,
    media_pb2.MASK_ENCODING_BITS,
    media_pb2.MASK_ENCODING_NONE,
)
EMPTY_PICTURE = media_pb2.Image(encoded=b"")
TRUNCATED = media_pb2.Image(encoded=PICTURE.encoded[: len(PICTURE.encoded) // 2])


@pytest.fixture
def box_engine() -> BoxEngine:
    return BoxEngine()


@pytest.fixture
async def segment_calls(box_engine: BoxEngine) -> AsyncIterator[SegmentCalls]:
    async with segmenting(box_engine, max_pixels=100_000, max_message_bytes=1 << 20) as calls:
        yield calls


async def play(client: StreamClient, frames: range) -> list[segmenter_pb2.SegmentVideoResult]:
    results = []
    for frame_id in frames:
        await client.send(frame=frame(frame_id))
        results.append((await client.read("result")).result)
    return results


async def refusal_of(
    client: StreamClient, edit: segmenter_pb2.SegmentVideoEdit
) -> tuple[Code, str]:
    """What comes of an edit about the next frame."""
    await client.send(edit=edit)
    await client.send(frame=frame(1000))
    status = (await client.read("edit")).edit.status
    await client.read("result")
    return code_of(status), reason_of(status)


def square_mask(height: int = HEIGHT, width: int = WIDTH) -> media_pb2.Mask:
    mask = np.zeros((height, width), np.bool_)
    mask[4:14, 4:14] = True
    message = wire.mask_to_message(mask)
    assert message is not None
    return message


# --- streams


async def test_started_says_what_holds(segment_calls: SegmentCalls) -> None:
    started = await segment_calls.call().open(config(window=0))
    assert started.config.model == "boxes"
    assert started.config.mask_encoding == RLE
    assert started.config.retained_frames == RETAINED
    assert started.config.max_objects == 64
    assert started.config.stream.window == started.terms.window == 4
    service = started.terms.service
    assert (service.service, service.engine, service.device) == ("segmenter", "boxes", "cpu")
    assert service.replica


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


@pytest.mark.parametrize("encoding", [RLE, PNG, BITS], ids=["rle", "png", "bits"])
async def test_mask_encodings(
    segment_calls: SegmentCalls, encoding: media_pb2.MaskEncoding.ValueType
) -> None:
    client = await segment_calls.opened(config(mask_encoding=encoding))
    await client.send(edit=prompt(1))
    await client.send(frame=frame(0))
    await client.read("edit")
    found = (await client.read("result")).result.objects[0]
    assert (wire.mask_from_message(found.mask) == wire.mask_from_message(square_mask())).all()
    kind = {RLE: "rle", PNG: "png", BITS: "bits"}[encoding]
    assert found.mask.WhichOneof("data") == kind


async def test_no_masks_where_none_are_asked_for(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened(config(mask_encoding=NONE))
    await client.send(edit=prompt(1))
    await client.send(frame=frame(0))
    await client.read("edit")
    found = (await client.read("result")).result.objects[0]
    assert not found.HasField("mask")
    assert (found.area_px, found.box.x_max) == (100, 14)


async def test_object_that_is_not_there_has_no_mask(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, what=boxed(1, (60, 4, 64, 14))))
    await client.send(frame=frame(0))
    await client.read("edit")
    last = (await play(client, range(1, 6)))[-1].objects[0]
    assert (last.object_id, last.area_px, last.score) == (1, 0, 0)
    assert not last.HasField("mask")
    assert not last.HasField("box")


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
    assert details_of(status, error_details_pb2.ErrorInfo).metadata["retained"] == "4..7"
    assert len(await play(client, range(8, 9))) == 1


async def test_prompt_before_its_frame_waits_for_it(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, frame_id=3))
    results = [r.result for r in [*await _answers(client, 5)] if r.HasField("result")]
    assert [sorted(boxes_of(result)) for result in results] == [[], [], [], [1], [1]]


async def _answers(client: StreamClient, frames: int) -> list[segmenter_pb2.SegmentVideoResponse]:
    for frame_id in range(frames):
        await client.send(frame=frame(frame_id))
    return await client.finish()


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
    responses = await _answers(client, 4)
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
    responses = await _answers(client, 2)
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
    responses = await _answers(client, 2)
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
        pytest.param(
            segmenter_pb2.SegmentVideoEdit(stop=segmenter_pb2.PropagationStop()), id="stop"
        ),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_in_band(
    segment_calls: SegmentCalls, edit: segmenter_pb2.SegmentVideoEdit
) -> None:
    client = await segment_calls.opened()
    assert await refusal_of(client, edit) == (Code.UNIMPLEMENTED, "ACTION_UNSUPPORTED")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        pytest.param(media_pb2.Image(encoded=b"no picture"), "IMAGE_UNDECODABLE", id="undecodable"),
        pytest.param(EMPTY_PICTURE, "IMAGE_UNDECODABLE", id="empty"),
        pytest.param(TRUNCATED, "IMAGE_UNDECODABLE", id="truncated"),
        pytest.param(picture(400, 300), "IMAGE_TOO_LARGE", id="over the pixel limit"),
        pytest.param(picture(HEIGHT, WIDTH + 2), "FRAME_SIZE", id="another size than the first"),
        pytest.param(media_pb2.Image(), "INVALID_FIELD", id="no source"),
    ],
)
async def test_bad_frame_is_answered_in_band_and_the_stream_lives(
    segment_calls: SegmentCalls, image: media_pb2.Image, reason: str
) -> None:
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, 0))
    for frame_id in range(4):
        await client.send(frame=frame(frame_id, image if frame_id == 2 else PICTURE))
    responses = await client.finish()
    assert frame_answers(responses) == [
        ("result", 0, 0),
        ("result", 1, 1),
        ("error", 2, 2),
        ("result", 3, 3),
    ]
    status = next(r.error.status for r in responses if r.HasField("error"))
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, reason)
    assert boxes_of(responses[-1].result) == {1: (6, 4, 16, 14)}


async def test_first_frame_that_can_be_decoded_gives_the_size(segment_calls: SegmentCalls) -> None:
    client = await segment_calls.opened()
    for frame_id, image in enumerate([TRUNCATED, picture(40, 30), PICTURE, picture(40, 30)]):
        await client.send(frame=frame(frame_id, image))
    answers = frame_answers(await client.finish())
    assert [kind for kind, _, _ in answers] == ["error", "result", "error", "result"]


async def test_engine_that_fails_on_a_frame_costs_that_frame_and_its_prompts(
    segment_calls: SegmentCalls, box_engine: BoxEngine
) -> None:
    box_engine.controls.fail_on = {1}
    client = await segment_calls.opened()
    await client.send(edit=prompt(1, 0))
    await client.send(edit=prompt(2, 1, boxed(2)))
    responses = await _answers(client, 3)
    assert [kind for kind, _, _ in frame_answers(responses)] == ["result", "error", "result"]
    edits = {r.edit.edit_id: code_of(r.edit.status) for r in responses if r.HasField("edit")}
    assert edits == {1: Code.OK, 2: Code.INTERNAL}
    assert sorted(boxes_of(responses[-1].result)) == [1]


async def test_unknown_model_names_those_there_are(segment_calls: SegmentCalls) -> None:
    client = segment_calls.call()
    await client.send(config=config(model="sam9"))
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_MODEL")
    assert details_of(status, error_details_pb2.ErrorInfo).metadata["available"] == "auto, boxes"


@pytest.mark.parametrize(
    ("model", "engine", "notice"),
    [
        pytest.param("", "one", "why one", id="nothing named"),
        pytest.param("auto", "one", "why one", id="auto"),
        pytest.param("one", "one", "", id="named: no notice"),
        pytest.param("two", "two", "", id="another"),
    ],
)
async def test_model_chooses_the_engine(model: str, engine: str, notice: str) -> None:
    async with segmenting(BoxEngine("one"), BoxEngine("two"), notice="why one") as calls:
        started = await calls.call().open(config(model=model))
        assert (started.terms.service.engine, started.terms.service.notice) == (engine, notice)
        listed = await calls.stub.ListModels(segmenter_pb2.SegmenterServiceListModelsRequest())
    assert [(m.name, m.ready, m.is_default) for m in listed.models] == [
        ("one", True, True),
        ("two", True, False),
    ]


# --- single pictures


async def test_segment_image_answers_every_prompt(segment_calls: SegmentCalls) -> None:
    request = segmenter_pb2.SegmentImageRequest(
        image=PICTURE, prompts=[boxed(7), boxed(0, (1, 2, 3, 4)), boxed(7)], candidates=3
    )
    answer = await segment_calls.stub.SegmentImage(request)
    assert [result.object_id for result in answer.results] == [7, 0, 7]
    assert [len(result.candidates) for result in answer.results] == [3, 3, 3]
    scores = [mask.score for mask in answer.results[0].candidates]
    assert scores == sorted(scores, reverse=True)
    assert {mask.object_id for mask in answer.results[0].candidates} == {7}
    assert wire.box_from_message(answer.results[1].candidates[0].box) == (1, 2, 3, 4)
    assert (answer.width, answer.height, answer.service.engine) == (WIDTH, HEIGHT, "boxes")


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        pytest.param(
            {"image": PICTURE, "prompts": [boxed(), Prompt(object_id=2)]},
            Code.INVALID_ARGUMENT,
            "prompts[1]",
            id="a prompt with nothing in it",
        ),
        pytest.param(
            {"image": TRUNCATED, "prompts": [boxed()]},
            Code.INVALID_ARGUMENT,
            "image",
            id="truncated",
        ),
        pytest.param({"image": PICTURE}, Code.INVALID_ARGUMENT, "prompts", id="no prompt"),
        pytest.param(
            {"image": PICTURE, "prompts": [boxed()] * 10_000},
            Code.INVALID_ARGUMENT,
            "prompts",
            id="10,000 prompts",
        ),
        pytest.param(
            {"image": PICTURE, "prompts": [boxed()], "candidates": 4},
            Code.INVALID_ARGUMENT,
            "candidates",
            id="too many candidates",
        ),
        pytest.param(
            {"image": PICTURE, "prompts": [boxed(1, (0, 0, NAN, 4))]},
            Code.INVALID_ARGUMENT,
            "prompts[0].box.x_max",
            id="NaN",
        ),
    ],
)
async def test_segment_image_refuses(
    segment_calls: SegmentCalls, request_: dict[str, object], code: grpc.StatusCode, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await segment_calls.stub.SegmentImage(segmenter_pb2.SegmentImageRequest(**request_))  # type: ignore[arg-type]  # whatever a row names
    status = status_of(caught.value)
    assert code_of(status) is code
    assert details_of(status, error_details_pb2.BadRequest).field_violations[0].field == field


async def test_segment_everything_says_which_engine_can(segment_calls: SegmentCalls) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await segment_calls.stub.SegmentEverything(
            segmenter_pb2.SegmentEverythingRequest(image=PICTURE)
        )
    status = status_of(caught.value)
    assert (code_of(status), reason_of(status)) == (Code.UNIMPLEMENTED, "EVERYTHING_UNSUPPORTED")
    assert "sam2" in status.message


async def test_kinds_of_answers_come_in_the_order_of_the_contract(
    segment_calls: SegmentCalls,
) -> None:
    client = await segment_calls.opened(config(every=2))
    await client.send(edit=prompt(1, 0))
    assert kinds(await _answers(client, 3)) == ["edit", "result", "result", "snapshot", "result"]
