"""Caption and ListModels on a real server: batches, bad input, deadlines, models that lack."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask.v1 import media_pb2

from tests.captioner.caption_calls import (
    PICTURE,
    TOO_LARGE,
    TRUNCATED,
    UNDECODABLE,
    CaptionCalls,
    captioning,
    grey,
    words_of,
)
from tests.captioner.grey_engine import POISON, GreyEngine
from tests.stream_kit import code_of, details_of, eventually, reason_of, status_of

Code = grpc.StatusCode


async def test_every_picture_gets_its_words_in_order(caption_calls: CaptionCalls) -> None:
    answer = await caption_calls.caption([grey(1), grey(2), grey(3)], text="a picture,")
    assert words_of(answer) == [f"a picture, grey {level}" for level in (1, 2, 3)]
    first = answer.results[0]
    assert (first.tokens, first.truncated, first.score) == (4, False, 0.5)
    assert first.timing.infer_ms > 0 and first.timing.decode_ms > 0


async def test_reply_says_who_made_it_and_what_auto_chose(caption_calls: CaptionCalls) -> None:
    service = (await caption_calls.caption([PICTURE])).service
    assert (service.service, service.engine, service.model) == ("captioner", "scripted", "greys")
    assert (service.revision, service.device) == ("r1", "cpu")
    assert service.notice == "auto chose greys"
    assert not (await caption_calls.caption([PICTURE], model="greys")).service.notice


async def test_defaults_are_greedy_and_forty_tokens(
    caption_calls: CaptionCalls, grey_engine: GreyEngine
) -> None:
    await caption_calls.caption([PICTURE])
    (query,) = grey_engine.queries
    assert (query.beams, query.max_tokens, query.min_tokens, query.text) == (1, 40, 0, "")


@pytest.mark.parametrize(
    ("image", "code", "reason"),
    [
        pytest.param(UNDECODABLE, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="undecodable"),
        pytest.param(TRUNCATED, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="truncated"),
        pytest.param(TOO_LARGE, Code.INVALID_ARGUMENT, "IMAGE_TOO_LARGE", id="over the limit"),
        pytest.param(grey(POISON), Code.INTERNAL, "INTERNAL", id="the model fails on it"),
    ],
)
async def test_bad_picture_costs_only_its_own_result(
    caption_calls: CaptionCalls, image: media_pb2.Image, code: Code, reason: str
) -> None:
    answer = await caption_calls.caption([grey(1), image, grey(3)])
    good, bad, also_good = answer.results
    assert (code_of(bad.error), reason_of(bad.error)) == (code, reason)
    assert not bad.caption
    assert "secret" not in str(bad.error)
    assert (good.caption, also_good.caption) == ("grey 1", "grey 3")
    if code is Code.INVALID_ARGUMENT:
        violations = details_of(bad.error, error_details_pb2.BadRequest).field_violations
        assert [violation.field for violation in violations] == ["images[1]"]


@pytest.mark.parametrize(
    ("images", "options", "code", "field"),
    [
        pytest.param(1, {"model": "none"}, Code.NOT_FOUND, "", id="unknown model"),
        pytest.param(1, {"model": "lacking"}, Code.FAILED_PRECONDITION, "", id="model not here"),
        pytest.param(
            1, {"text": "what?"}, Code.INVALID_ARGUMENT, "options.text", id="text it does not take"
        ),
        pytest.param(1, {"beams": 17}, Code.INVALID_ARGUMENT, "options.beams", id="17 beams"),
        pytest.param(
            1, {"max_tokens": 1025}, Code.INVALID_ARGUMENT, "options.max_tokens", id="1025 tokens"
        ),
        pytest.param(
            1,
            {"max_tokens": 5, "min_tokens": 6},
            Code.INVALID_ARGUMENT,
            "options.min_tokens",
            id="more at least than at most",
        ),
        pytest.param(
            1,
            {"min_tokens": 41},
            Code.INVALID_ARGUMENT,
            "options.min_tokens",
            id="over the default",
        ),
        pytest.param(
            1, {"text": "x" * 1001}, Code.INVALID_ARGUMENT, "options.text", id="1001 characters"
        ),
        pytest.param(0, {}, Code.INVALID_ARGUMENT, "images", id="no pictures"),
        pytest.param(65, {}, Code.INVALID_ARGUMENT, "images", id="65 pictures"),
    ],
)
async def test_bad_request_is_refused_before_any_work(
    caption_calls: CaptionCalls,
    grey_engine: GreyEngine,
    images: int,
    options: dict[str, Any],
    code: Code,
    field: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await caption_calls.caption([PICTURE] * images, **options)
    status = status_of(refused.value)
    assert code_of(status) is code
    if field:
        violations = details_of(status, error_details_pb2.BadRequest).field_violations
        assert [violation.field for violation in violations] == [field]
    assert grey_engine.prepared == 0


async def test_without_any_model_it_serves_and_names_the_command() -> None:
    async with captioning() as calls:
        for model in ("", "auto", "lacking"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await calls.caption([PICTURE], model=model)
            status = status_of(refused.value)
            absent = (Code.FAILED_PRECONDITION, "MODEL_ABSENT")
            assert (code_of(status), reason_of(status)) == absent
            assert "kinemask models pull lacking" in status.message
        (model_info,) = await calls.models()
        assert (model_info.name, model_info.ready, model_info.is_default) == (
            "lacking",
            False,
            False,
        )
        assert "kinemask models pull lacking" in model_info.reason


async def test_models_are_listed_default_first_and_absent_ones_last() -> None:
    async with captioning(GreyEngine(), GreyEngine("others")) as calls:
        models = await calls.models()
        assert [(model.name, model.ready, model.is_default) for model in models] == [
            ("greys", True, True),
            ("others", True, False),
            ("lacking", False, False),
        ]
        assert (models[0].license, models[0].revision, models[0].engine) == (
            "MIT",
            "r1",
            "scripted",
        )


async def test_unknown_model_names_those_there_are(caption_calls: CaptionCalls) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await caption_calls.caption([PICTURE], model="none")
    info = details_of(status_of(refused.value), error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["available"]) == ("UNKNOWN_MODEL", "auto, greys, lacking")


async def test_only_requests_that_ask_the_same_share_a_batch() -> None:
    engine = GreyEngine()
    engine.go.clear()
    async with captioning(engine, captioner_max_batch=4, captioner_max_delay_ms=0) as calls:
        first = asyncio.create_task(calls.caption([grey(1)]))
        await eventually(lambda: engine.batches)
        waiting = [
            asyncio.create_task(calls.caption([grey(level)], **options))
            for level, options in (
                (2, {"max_tokens": 10}),
                (3, {"max_tokens": 20}),
                (4, {"max_tokens": 10}),
                (5, {"max_tokens": 10, "beams": 3}),
                (6, {"max_tokens": 20}),
            )
        ]
        await eventually(lambda: engine.prepared == 6)
        engine.go.set()
        answers = await asyncio.gather(first, *waiting)
    assert [words_of(answer) for answer in answers] == [[f"grey {n}"] for n in range(1, 7)]
    assert sorted(map(sorted, engine.batches)) == [[1], [2, 4], [3, 6], [5]]
    assert len(engine.threads) == 1
    assert threading.current_thread().name not in engine.threads


async def test_full_queue_refuses_the_whole_request(grey_engine: GreyEngine) -> None:
    grey_engine.go.clear()
    async with captioning(grey_engine, captioner_max_queue=2, captioner_max_delay_ms=0) as calls:
        first = asyncio.create_task(calls.caption([PICTURE]))
        await eventually(lambda: grey_engine.batches)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.caption([PICTURE] * 8)
        status = status_of(refused.value)
        assert (code_of(status), reason_of(status)) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        grey_engine.go.set()
        assert words_of(await first) == ["grey 90"]


@pytest.mark.parametrize("model", ["greys", "others"])
async def test_expired_request_never_reaches_the_model(model: str) -> None:
    """Nor that of another model, which waits for the same device."""
    engine, other = GreyEngine(), GreyEngine("others")
    engine.go.clear()
    async with captioning(engine, other) as calls:
        first = asyncio.create_task(calls.caption([grey(1)]))
        await eventually(lambda: engine.batches)
        with pytest.raises(grpc.aio.AioRpcError) as expired:
            await calls.caption([grey(2)], timeout_s=0.2, model=model)
        assert expired.value.code() is Code.DEADLINE_EXCEEDED
        engine.go.set()
        await first
        # Whatever was left of it would have been in front of these.
        await calls.caption([grey(3)], model="greys")
        await calls.caption([grey(3)], model="others")
    assert engine.batches == [[1], [3]]
    assert other.batches == [[3]]


async def test_cancelled_request_never_reaches_the_model(grey_engine: GreyEngine) -> None:
    grey_engine.go.clear()
    async with captioning(grey_engine) as calls:
        first = asyncio.create_task(calls.caption([grey(1)]))
        await eventually(lambda: grey_engine.batches)
        cancelled = asyncio.create_task(calls.caption([grey(2)]))
        await eventually(lambda: grey_engine.prepared == 2)
        cancelled.cancel()
        idle = calls.server.interceptor
        await eventually(lambda: idle.active == 1)
        grey_engine.go.set()
        await first
        await calls.caption([grey(3)])
    assert grey_engine.batches == [[1], [3]]


async def test_default_is_warmed_up_and_the_others_come_when_asked_for() -> None:
    engine, other = GreyEngine(), GreyEngine("others")
    async with captioning(engine, other) as calls:
        assert engine.warm and engine.loaded
        assert not other.loaded
        await calls.caption([PICTURE], model="others")
        assert other.loaded and engine.loaded
    assert not engine.loaded and not other.loaded


async def test_models_that_do_not_fit_together_take_turns() -> None:
    engines = [GreyEngine(name, size_bytes=600 << 20) for name in ("one", "two", "three")]
    async with captioning(*engines, captioner_memory_mib=1300) as calls:
        for model in ("one", "two", "one", "three", "one", "two"):
            await calls.caption([PICTURE], model=model)
        assert [engine.loaded for engine in engines] == [True, True, False]
    # `two` had to go for `three`, being the one not used for longest; `one` never had to.
    assert [engine.loads for engine in engines] == [1, 2, 1]


async def test_model_over_the_budget_is_refused_and_says_the_setting() -> None:
    small, large = GreyEngine("small"), GreyEngine("large", size_bytes=2 << 30)
    async with captioning(small, large, captioner_memory_mib=1024) as calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.caption([PICTURE], model="large")
        status = status_of(refused.value)
        assert (code_of(status), reason_of(status)) == (
            Code.FAILED_PRECONDITION,
            "MODEL_TOO_LARGE",
        )
        assert "KINEMASK_CAPTIONER_MEMORY_MIB" in status.message
        assert not large.loaded and small.loaded
        assert words_of(await calls.caption([PICTURE], model="small")) == ["grey 90"]
