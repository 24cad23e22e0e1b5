"""Single pictures on a real server."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import segmenter_pb2

from tests.segmenter.segment_calls import (
    HEIGHT,
    PICTURE,
    TRUNCATED,
    WIDTH,
    Prompt,
    SegmentCalls,
    boxed,
)
from tests.stream_kit import (
    code_of,
    details_of,
    reason_of,
    status_of,
)

Code = grpc.StatusCode
NAN = float("nan")


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
