"""SegmentVideo and ListModels on a real server: configs, frames, masks, models."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2

from tests.segmenter.box_engine import RETAINED, BoxEngine
from tests.segmenter.segment_calls import (
    HEIGHT,
    PICTURE,
    TRUNCATED,
    WIDTH,
    SegmentCalls,
    answers_to,
    boxed,
    boxes_of,
    config,
    frame,
    picture,
    play,
    prompt,
    segmenting,
    square_mask,
)
from tests.stream_kit import (
    code_of,
    details_of,
    frame_answers,
    kinds,
    reason_of,
)

Code = grpc.StatusCode
RLE, PNG, BITS, NONE = (
    media_pb2.MASK_ENCODING_RLE,
    media_pb2.MASK_ENCODING_PNG,
    media_pb2.MASK_ENCODING_BITS,
    media_pb2.MASK_ENCODING_NONE,
)
EMPTY_PICTURE = media_pb2.Image(encoded=b"")


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
    responses = await answers_to(client, 3)
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


async def test_kinds_of_answers_come_in_the_order_of_the_contract(
    segment_calls: SegmentCalls,
) -> None:
    client = await segment_calls.opened(config(every=2))
    await client.send(edit=prompt(1, 0))
    assert kinds(await answers_to(client, 3)) == ["edit", "result", "result", "snapshot", "result"]
