"""Detect and ListModels on a real server: batches, bad input, deadlines."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask.v1 import detector_pb2, media_pb2

from tests.detector.detect_calls import (
    HEIGHT,
    PICTURE,
    POISON,
    SPOT_XYXY,
    TOO_LARGE,
    TRUNCATED,
    UNDECODABLE,
    WIDTH,
    DetectCalls,
    asked,
    detecting,
    picture,
    prompts_of,
)
from tests.detector.spot_engine import SpotEngine
from tests.stream_kit import code_of, details_of, eventually, reason_of, status_of

Code = grpc.StatusCode


async def test_every_prompt_is_answered_in_one_pass(
    detect_calls: DetectCalls, spot_engine: SpotEngine
) -> None:
    answer = await detect_calls.detect([PICTURE], asked("dot", "spot"))
    (result,) = answer.results
    assert prompts_of(result) == ["dot", "spot"]
    box = result.detections[0].box
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == SPOT_XYXY
    assert (result.width, result.height) == (WIDTH, HEIGHT)
    assert spot_engine.batches == [1]


async def test_reply_says_who_and_how_long(detect_calls: DetectCalls) -> None:
    answer = await detect_calls.detect([PICTURE])
    service = answer.service
    assert (service.service, service.engine, service.model) == ("detector", "spots", "bright")
    assert (service.revision, service.device) == ("r1", "cpu")
    assert answer.results[0].timing.infer_ms > 0
    assert answer.results[0].timing.decode_ms > 0


@pytest.mark.parametrize(
    ("image", "code", "reason"),
    [
        pytest.param(UNDECODABLE, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="undecodable"),
        pytest.param(TRUNCATED, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="truncated"),
        pytest.param(TOO_LARGE, Code.INVALID_ARGUMENT, "IMAGE_TOO_LARGE", id="over the limit"),
        pytest.param(POISON, Code.INTERNAL, "INTERNAL", id="the model fails on it"),
    ],
)
async def test_bad_picture_costs_only_its_own_result(
    detect_calls: DetectCalls, image: media_pb2.Image, code: Code, reason: str
) -> None:
    answer = await detect_calls.detect([PICTURE, image, PICTURE])
    good, bad, also_good = answer.results
    assert (code_of(bad.error), reason_of(bad.error)) == (code, reason)
    assert not bad.detections
    assert "secret" not in str(bad.error)
    for result in (good, also_good):
        assert prompts_of(result) == ["spot"]
        assert not result.HasField("error")


async def test_error_names_the_picture(detect_calls: DetectCalls) -> None:
    answer = await detect_calls.detect([PICTURE, UNDECODABLE])
    violations = details_of(answer.results[1].error, error_details_pb2.BadRequest).field_violations
    assert [violation.field for violation in violations] == ["images[1]"]


@pytest.mark.parametrize(
    ("images", "options", "code", "reason"),
    [
        pytest.param(1, asked(model="none"), Code.NOT_FOUND, "UNKNOWN_MODEL", id="model"),
        pytest.param(1, asked("cat"), Code.INVALID_ARGUMENT, "UNKNOWN_PROMPT", id="unknown prompt"),
        pytest.param(
            1, asked(classes=["cat"]), Code.INVALID_ARGUMENT, "UNKNOWN_CLASS", id="unknown class"
        ),
        pytest.param(
            1,
            asked(*["spot"] * 10_000),
            Code.INVALID_ARGUMENT,
            "INVALID_FIELD",
            id="10,000 prompts",
        ),
        pytest.param(
            1,
            asked(score_threshold=float("nan")),
            Code.INVALID_ARGUMENT,
            "INVALID_FIELD",
            id="threshold that is no number",
        ),
        pytest.param(
            1,
            asked(overlap_threshold=1.5),
            Code.INVALID_ARGUMENT,
            "INVALID_FIELD",
            id="overlap over 1",
        ),
        pytest.param(1, asked(top_k=1001), Code.INVALID_ARGUMENT, "INVALID_FIELD", id="top_k"),
        pytest.param(0, asked(), Code.INVALID_ARGUMENT, "INVALID_FIELD", id="no pictures"),
        pytest.param(65, asked(), Code.INVALID_ARGUMENT, "INVALID_FIELD", id="65 pictures"),
    ],
)
async def test_bad_request_is_refused_before_any_work(
    detect_calls: DetectCalls,
    spot_engine: SpotEngine,
    images: int,
    options: detector_pb2.DetectOptions,
    code: Code,
    reason: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detect_calls.detect([PICTURE] * images, options)
    status = status_of(refused.value)
    assert (code_of(status), reason_of(status)) == (code, reason)
    assert spot_engine.prepared == 0


async def test_unknown_prompt_says_where_and_what_can_be_found(detect_calls: DetectCalls) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detect_calls.detect([PICTURE], asked("spot", "cat", "dog"))
    status = status_of(refused.value)
    violations = details_of(status, error_details_pb2.BadRequest).field_violations
    assert [violation.field for violation in violations] == [
        "options.prompts[1]",
        "options.prompts[2]",
    ]
    info = details_of(status, error_details_pb2.ErrorInfo)
    assert info.metadata["available"] == "spot, dot, ball"
    assert "spot, dot, ball" in status.message


async def test_pictures_of_one_size_share_batches_on_one_thread() -> None:
    # Whatever is asked here fills batches of two, so the long delay is never waited for.
    engine = SpotEngine(max_batch=2)
    engine.go.clear()
    async with detecting(engine, detector_max_delay_ms=1000) as calls:
        other = picture(HEIGHT, WIDTH + 8)
        waiting = [asyncio.create_task(calls.detect([PICTURE] * 4)) for _ in range(2)]
        await eventually(lambda: engine.batches)
        waiting.append(asyncio.create_task(calls.detect([other] * 2)))
        engine.go.set()
        answers = await asyncio.gather(*waiting)
    assert [len(answer.results) for answer in answers] == [4, 4, 2]
    assert engine.batches == [2] * 5
    assert len(engine.threads) == 1
    assert threading.current_thread().name not in engine.threads


async def test_large_request_does_not_fill_the_queue_by_itself(spot_engine: SpotEngine) -> None:
    async with detecting(spot_engine, detector_max_queue=8, detector_max_in_work=8) as calls:
        answer = await calls.detect([PICTURE] * 64)
    assert all(prompts_of(result) == ["spot"] for result in answer.results)


async def test_full_queue_refuses_the_whole_request(spot_engine: SpotEngine) -> None:
    spot_engine.go.clear()
    async with detecting(spot_engine, detector_max_queue=2, detector_max_delay_ms=0) as calls:
        first = asyncio.create_task(calls.detect([PICTURE]))
        await eventually(lambda: spot_engine.batches)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.detect([PICTURE] * 8)
        status = status_of(refused.value)
        assert (code_of(status), reason_of(status)) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert details_of(status, error_details_pb2.RetryInfo).retry_delay.ToNanoseconds() >= 0
        spot_engine.go.set()
        assert prompts_of((await first).results[0]) == ["spot"]


async def test_expired_request_never_reaches_the_model(spot_engine: SpotEngine) -> None:
    spot_engine.go.clear()
    async with detecting(spot_engine) as calls:
        first = asyncio.create_task(calls.detect([PICTURE]))
        await eventually(lambda: spot_engine.batches)
        with pytest.raises(grpc.aio.AioRpcError) as expired:
            await calls.detect([PICTURE], timeout_s=0.2)
        assert expired.value.code() is Code.DEADLINE_EXCEEDED
        spot_engine.go.set()
        await first
        # Whatever was left of it would have been in front of this one.
        await calls.detect([PICTURE])
    assert spot_engine.batches == [1, 1]


async def test_models_are_listed_default_first() -> None:
    async with detecting(SpotEngine(), SpotEngine("others")) as calls:
        models = (
            await calls.stub.ListModels(detector_pb2.DetectorServiceListModelsRequest())
        ).models
        assert [(model.name, model.is_default) for model in models] == [
            ("spots", True),
            ("others", False),
        ]
        assert models[0].ready
        assert (models[0].license, models[0].revision) == ("MIT", "r1")
        assert list(models[0].classes) == ["spot", "dot", "ball"]
        answer = await calls.detect([PICTURE], asked(model="others"))
        assert answer.service.engine == "others"


async def test_engines_are_warmed_up_and_closed(spot_engine: SpotEngine) -> None:
    async with detecting(spot_engine):
        assert spot_engine.warm
        assert not spot_engine.closed
    assert spot_engine.closed
