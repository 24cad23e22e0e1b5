"""DetectStream on a real server: edits, policies, bad frames, hand-over."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from kinemask.v1 import detector_pb2, media_pb2, streams_pb2

from tests.detector.detect_calls import (
    LATEST,
    PICTURE,
    POISON,
    REJECT,
    SNAPSHOT,
    TOO_LARGE,
    TRUNCATED,
    UNDECODABLE,
    DetectCalls,
    asked,
    detecting,
    edit,
    frame,
    picture,
    prompts_of,
    stream_config,
)
from tests.detector.spot_engine import SpotEngine
from tests.stream_kit import (
    StreamClient,
    code_of,
    eventually,
    frame_answers,
    reason_of,
)

Code = grpc.StatusCode


async def next_prompts(client: StreamClient, frame_id: int) -> list[str]:
    """Send a frame; the prompts that its result answers."""
    await client.send(frame=frame(frame_id))
    result = (await client.read("result")).result
    assert result.frame_id == frame_id
    return prompts_of(result.detections)


async def test_started_says_what_holds(detect_calls: DetectCalls) -> None:
    started = await detect_calls.call().open(stream_config(window=0))
    options = started.config.options
    assert (options.model, options.top_k) == ("spots", 100)
    assert (options.score_threshold, options.overlap_threshold) == (0.25, 0.5)
    assert started.config.stream.window == started.terms.window == 4
    assert started.terms.service.engine == "spots"


async def test_result_names_its_frame_and_its_time(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened()
    await client.send(frame=frame(7))
    result = (await client.read("result")).result
    assert (result.frame_id, result.capture_time_us) == (7, 7000)
    assert prompts_of(result.detections) == ["spot"]
    assert result.detections.timing.infer_ms > 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param({"frame": frame(0)}, "CONFIG_EXPECTED", id="frame first"),
        pytest.param({"snapshot": SNAPSHOT}, "CONFIG_EXPECTED", id="snapshot first"),
        pytest.param(
            {"config": stream_config(options=asked("cat"))}, "UNKNOWN_PROMPT", id="unknown prompt"
        ),
        pytest.param(
            {"config": stream_config(options=asked(*["spot"] * 10_000))},
            "INVALID_FIELD",
            id="10,000 prompts",
        ),
        pytest.param(
            {"config": stream_config(options=asked(score_threshold=float("nan")))},
            "INVALID_FIELD",
            id="threshold that is no number",
        ),
    ],
)
async def test_bad_opening_ends_the_stream(
    detect_calls: DetectCalls, message: dict[str, object], reason: str
) -> None:
    client = detect_calls.call()
    await client.send(**message)
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, reason)
    await eventually(lambda: detect_calls.streams.active == 0)


async def test_unknown_model_ends_the_stream(detect_calls: DetectCalls) -> None:
    client = detect_calls.call()
    await client.send(config=stream_config(options=asked(model="none")))
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_MODEL")


async def test_ids_that_do_not_increase_end_the_stream(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened()
    await next_prompts(client, 5)
    await client.send(frame=frame(5))
    status = await client.failure()
    assert reason_of(status) == "FRAME_ID_NOT_INCREASING"


@pytest.mark.parametrize(
    ("image", "code", "reason"),
    [
        pytest.param(UNDECODABLE, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="undecodable"),
        pytest.param(TRUNCATED, Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="truncated"),
        pytest.param(TOO_LARGE, Code.INVALID_ARGUMENT, "IMAGE_TOO_LARGE", id="over the limit"),
        pytest.param(media_pb2.Image(), Code.INVALID_ARGUMENT, "INVALID_FIELD", id="no source"),
        pytest.param(POISON, Code.INTERNAL, "INTERNAL", id="the model fails on it"),
    ],
)
async def test_bad_frame_is_answered_in_band_and_the_stream_lives(
    detect_calls: DetectCalls, image: media_pb2.Image, code: Code, reason: str
) -> None:
    client = await detect_calls.opened()
    for frame_id in range(3):
        await client.send(frame=frame(frame_id, image if frame_id == 1 else PICTURE))
    responses = await client.finish()
    assert frame_answers(responses) == [("result", 0, 0), ("error", 1, 1), ("result", 2, 2)]
    status = next(r.error.status for r in responses if r.HasField("error"))
    assert (code_of(status), reason_of(status)) == (code, reason)


async def test_frames_may_differ_in_size(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened()
    await client.send(frame=frame(0))
    await client.send(frame=frame(1, picture(60, 80)))
    results = [response.result.detections for response in await client.finish()]
    assert [(found.width, found.height) for found in results] == [(64, 48), (80, 60)]


async def test_edit_holds_from_the_frame_it_names(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened()
    await client.send(edit=edit(1, asked("dot"), 2))
    assert await next_prompts(client, 0) == ["spot"]
    assert await next_prompts(client, 1) == ["spot"]
    await client.send(frame=frame(2))
    answers = {r.WhichOneof("message"): r for r in (await client.read(), await client.read())}
    assert answers["edit"].edit.frame_id == 2
    assert not answers["edit"].edit.HasField("status")
    assert prompts_of(answers["result"].result.detections) == ["dot"]
    assert await next_prompts(client, 3) == ["dot"]


async def test_edit_reaches_frames_that_were_prepared_ahead(
    detect_calls: DetectCalls, spot_engine: SpotEngine
) -> None:
    spot_engine.go.clear()
    client = await detect_calls.opened()
    await client.send(frame=frame(0))
    await client.send(frame=frame(1))
    await client.send(edit=edit(1, asked("ball"), 1))
    await client.send(frame=frame(2))
    # The last message is in work, so the edit before it was read; and no frame was let through.
    await eventually(lambda: spot_engine.prepared == 3)
    spot_engine.go.set()
    responses = await client.finish()
    found = [prompts_of(r.result.detections) for r in responses if r.HasField("result")]
    assert found == [["spot"], ["ball"], ["ball"]]


async def test_edit_of_a_frame_that_was_dropped_holds_from_the_next(
    detect_calls: DetectCalls,
) -> None:
    client = await detect_calls.opened()
    assert await next_prompts(client, 0) == ["spot"]
    await client.send(edit=edit(1, asked("dot"), 3))
    await client.send(frame=frame(5))
    answers = {r.WhichOneof("message"): r for r in (await client.read(), await client.read())}
    assert not answers["edit"].edit.HasField("status")
    assert prompts_of(answers["result"].result.detections) == ["dot"]


@pytest.mark.parametrize(
    ("options", "frame_id", "code", "reason"),
    [
        pytest.param(asked("dot"), 3, Code.NOT_FOUND, "FRAME_GONE", id="a frame that has gone"),
        pytest.param(
            asked("cat"), None, Code.INVALID_ARGUMENT, "UNKNOWN_PROMPT", id="unknown prompt"
        ),
        pytest.param(
            asked(model="others"), None, Code.INVALID_ARGUMENT, "INVALID_FIELD", id="another model"
        ),
        pytest.param(
            asked(score_threshold=2), None, Code.INVALID_ARGUMENT, "INVALID_FIELD", id="threshold"
        ),
    ],
)
async def test_bad_edit_changes_nothing(
    detect_calls: DetectCalls,
    options: detector_pb2.DetectOptions,
    frame_id: int | None,
    code: Code,
    reason: str,
) -> None:
    client = await detect_calls.opened()
    assert await next_prompts(client, 4) == ["spot"]
    await client.send(edit=edit(9, options, frame_id))
    await client.send(frame=frame(5))
    answers = {r.WhichOneof("message"): r for r in (await client.read(), await client.read())}
    refused = answers["edit"].edit
    assert refused.edit_id == 9
    assert (code_of(refused.status), reason_of(refused.status)) == (code, reason)
    assert prompts_of(answers["result"].result.detections) == ["spot"]


@pytest.mark.parametrize(
    ("policy", "skipped", "code"),
    [
        pytest.param(LATEST, (3, 6), Code.ABORTED, id="latest keeps the newest"),
        pytest.param(REJECT, (4, 7), Code.RESOURCE_EXHAUSTED, id="reject keeps the oldest"),
    ],
)
async def test_frames_beyond_the_window(
    detect_calls: DetectCalls,
    spot_engine: SpotEngine,
    policy: streams_pb2.OverflowPolicy.ValueType,
    skipped: tuple[int, int],
    code: Code,
) -> None:
    spot_engine.go.clear()
    client = await detect_calls.opened(stream_config(window=4, policy=policy))
    for frame_id in range(8):
        await client.send(frame=frame(frame_id))
    await client.call.done_writing()
    frames_in = detect_calls.service.metrics.frames("DetectStream").received
    await eventually(lambda: _value(frames_in) == 8)
    spot_engine.go.set()
    responses = await client.rest()
    told = frame_answers(responses)
    assert ("skipped", *skipped) in told
    assert len([answer for answer in told if answer[0] == "result"]) == 4
    status = next(r.skipped.status for r in responses if r.HasField("skipped"))
    assert code_of(status) is code


async def test_blocked_stream_loses_nothing(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened(stream_config(window=2))
    for frame_id in range(20):
        await client.send(frame=frame(frame_id))
    assert frame_answers(await client.finish()) == [("result", n, n) for n in range(20)]


async def test_streams_share_the_model() -> None:
    # Whatever is sent here fills batches of two, so the long delay is never waited for.
    engine = SpotEngine(max_batch=2)
    async with detecting(engine, detector_max_delay_ms=1000) as calls:
        clients = [await calls.opened() for _ in range(4)]
        for client in clients:
            await client.send(frame=frame(0))
        for client in clients:
            assert prompts_of((await client.read("result")).result.detections) == ["spot"]
    assert engine.batches == [2, 2]


async def test_stream_goes_on_elsewhere_with_what_an_edit_asked_for() -> None:
    async with detecting(SpotEngine()) as here, detecting(SpotEngine()) as there:
        client = await here.opened()
        await client.send(edit=edit(1, asked("ball")))
        await client.send(frame=frame(0))
        await client.read()
        await client.read()
        draining = asyncio.create_task(here.server.drain(grace_s=20))
        away = (await client.read("go_away")).go_away
        await client.finish()
        await draining
        assert away.last_frame_id == 0
        client = there.call()
        started = await client.open(stream_config(resume_token=away.resume_token))
        assert list(started.config.options.prompts) == ["ball"]
        assert not started.config.stream.resume_token
        assert await next_prompts(client, 1) == ["ball"]


async def test_damaged_token_is_refused(detect_calls: DetectCalls) -> None:
    client = await detect_calls.opened()
    await next_prompts(client, 0)
    await client.send(snapshot=SNAPSHOT)
    token = (await client.read("snapshot")).snapshot.resume_token
    other = detect_calls.call()
    await other.send(config=stream_config(resume_token=token[:-1] + bytes([token[-1] ^ 1])))
    status = await other.failure()
    assert (code_of(status), reason_of(status)) == (Code.DATA_LOSS, "RESUME_TOKEN_DAMAGED")


async def test_lost_client_frees_its_stream_and_its_place(
    detect_calls: DetectCalls, spot_engine: SpotEngine
) -> None:
    spot_engine.go.clear()
    client = await detect_calls.opened()
    await client.send(frame=frame(0))
    await eventually(lambda: spot_engine.batches)
    client.call.cancel()
    await eventually(lambda: detect_calls.streams.active == 0)
    spot_engine.go.set()
    assert prompts_of((await detect_calls.detect([PICTURE])).results[0]) == ["spot"]


async def test_deadline_ends_the_stream_and_its_frame_never_reaches_the_model(
    detect_calls: DetectCalls, spot_engine: SpotEngine
) -> None:
    spot_engine.go.clear()
    first = asyncio.create_task(detect_calls.detect([PICTURE]))
    await eventually(lambda: spot_engine.batches)
    client = detect_calls.call(timeout_s=0.3)
    await client.open(stream_config())
    await client.send(frame=frame(0))
    status = await client.failure()
    assert code_of(status) is Code.DEADLINE_EXCEEDED
    await eventually(lambda: detect_calls.streams.active == 0)
    spot_engine.go.set()
    await first
    await detect_calls.detect([PICTURE])
    assert spot_engine.batches == [1, 1]


def _value(counter: object) -> float:
    return float(next(iter(counter.collect())).samples[0].value)  # type: ignore[attr-defined]  # prometheus names no type for it
