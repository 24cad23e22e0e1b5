"""The stream contract's first and fourth points: the first message, ids, bad frames."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis.settings import ChassisSettings

from tests.chassis.gated_service import GatedService
from tests.chassis.gated_streams import (
    BLOCK,
    SNAPSHOT,
    UNSPECIFIED,
    GatedCalls,
    config,
    frame,
    removal,
    serving,
)
from tests.stream_kit import (
    code_of,
    details_of,
    eventually,
    frame_answers,
    reason_of,
)

Code = grpc.StatusCode


async def test_started_echoes_what_holds(gated_calls: GatedCalls) -> None:
    started = await gated_calls.call().open(config(window=0, policy=UNSPECIFIED))
    assert started.terms.window == 4
    assert started.terms.policy == BLOCK
    assert started.terms.service.service == "gated"
    assert not started.terms.HasField("resumed_after_frame_id")
    assert started.config.stream.window == 4


async def test_window_is_lowered_to_the_largest_allowed(gated_calls: GatedCalls) -> None:
    started = await gated_calls.call().open(config(window=200))
    assert started.terms.window == 64


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"frame": frame(0)}, id="frame"),
        pytest.param({"edit": removal(1)}, id="edit"),
        pytest.param({"snapshot": SNAPSHOT}, id="snapshot request"),
        pytest.param({}, id="message with nothing in it"),
    ],
)
async def test_first_message_must_be_the_config(
    gated: GatedService, gated_calls: GatedCalls, first: dict[str, object]
) -> None:
    client = gated_calls.call()
    await client.send(**first)
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, "CONFIG_EXPECTED")
    assert details_of(status, error_details_pb2.BadRequest).field_violations[0].field == "message"
    assert gated.streams.active == 0


async def test_stream_without_any_message_is_refused(gated_calls: GatedCalls) -> None:
    client = gated_calls.call()
    await client.call.done_writing()
    assert reason_of(await client.failure()) == "CONFIG_EXPECTED"


async def test_config_beyond_its_limits_names_every_field(gated_calls: GatedCalls) -> None:
    client = gated_calls.call()
    await client.send(config=config(window=1000, max_objects=5000))
    status = await client.failure()
    fields = details_of(status, error_details_pb2.BadRequest).field_violations
    assert {violation.field for violation in fields} == {"stream.window", "max_objects"}


async def test_refused_config_frees_its_slot(gated: GatedService, gated_calls: GatedCalls) -> None:
    client = gated_calls.call()
    await client.send(config=config(model="nonesuch"))
    status = await client.failure()
    assert (code_of(status), reason_of(status)) == (Code.NOT_FOUND, "UNKNOWN_MODEL")
    assert gated.streams.active == 0


async def test_second_config_ends_the_stream(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(config=config())
    status = await client.failure()
    assert code_of(status) is Code.INVALID_ARGUMENT
    assert "a second config" in status.message


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(5, id="equal"),
        pytest.param(4, id="smaller"),
        pytest.param(2**64 - 1, id="beyond what engines can keep"),
    ],
)
async def test_frame_ids_must_increase(
    gated: GatedService, gated_calls: GatedCalls, second: int
) -> None:
    client = await gated_calls.opened()
    await client.send(frame=frame(5))
    await client.read("result")
    await client.send(frame=frame(second))
    status = await client.failure()
    assert code_of(status) is Code.INVALID_ARGUMENT
    bad = details_of(status, error_details_pb2.BadRequest).field_violations[0]
    assert bad.field == "frame.frame_id"
    assert str(second) in bad.description
    await eventually(lambda: gated.streams.active == 0)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        pytest.param("bad", Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE", id="in prepare"),
        pytest.param("fail in step", Code.FAILED_PRECONDITION, "ASKED_FOR", id="in step"),
        pytest.param("fail in finish", Code.FAILED_PRECONDITION, "ASKED_FOR", id="in finish"),
        pytest.param("bug in step", Code.INTERNAL, "INTERNAL", id="by a bug"),
    ],
)
async def test_failed_frame_is_answered_in_its_place_and_the_stream_lives(
    gated: GatedService, gated_calls: GatedCalls, text: str, code: grpc.StatusCode, reason: str
) -> None:
    client = await gated_calls.opened()
    for frame_id in range(6):
        await client.send(frame=frame(frame_id, text if frame_id in (0, 3) else "good"))
    responses = await client.finish()
    want = ["error", "result", "result", "error", "result", "result"]
    assert frame_answers(responses) == [(kind, i, i) for i, kind in enumerate(want)]
    error = responses[3].error
    assert (code_of(error.status), reason_of(error.status)) == (code, reason)
    assert error.capture_time_us == 3000
    assert "xyzzy" not in str(error)
    assert (gated.counted("failed"), gated.counted("answered")) == (2, 4)


async def test_frame_that_breaks_a_limit_is_answered_in_band(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(frame=media_pb2.Frame(frame_id=1))
    await client.send(frame=frame(2))
    responses = await client.finish()
    assert frame_answers(responses) == [("error", 1, 1), ("result", 2, 2)]
    violations = details_of(responses[0].error.status, error_details_pb2.BadRequest)
    assert violations.field_violations[0].field == "image"


async def test_broken_frame_keeps_its_place_behind_frames_in_work(
    gated: GatedService, gated_calls: GatedCalls
) -> None:
    gated.gate.shut()
    client = await gated_calls.opened(config(window=8))
    for frame_id in range(5):
        await client.send(frame=frame(frame_id))
    await client.send(frame=media_pb2.Frame(frame_id=5))
    await eventually(lambda: gated.counted("failed") == 1)
    gated.gate.let(5)
    answers = frame_answers(await client.finish())
    assert answers == [("result", i, i) for i in range(5)] + [("error", 5, 5)]


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_every_frame_is_answered_although_the_client_has_said_its_last(depth: int) -> None:
    # More frames than may be in work at once are still waiting when the input ends.
    service = GatedService(ChassisSettings(port=0), depth=depth)
    service.gate.shut()
    async with serving(service) as calls:
        client = await calls.opened(config(window=16))
        for frame_id in range(16):
            await client.send(frame=frame(frame_id))
        await client.call.done_writing()
        await eventually(lambda: service.counted("received") == 16)
        service.gate.let(16)
        assert frame_answers(await client.rest()) == [("result", i, i) for i in range(16)]


async def test_timing_and_capture_time_come_back(gated_calls: GatedCalls) -> None:
    client = await gated_calls.opened()
    await client.send(frame=frame(3))
    result: segmenter_pb2.SegmentVideoResult = (await client.read("result")).result
    assert result.capture_time_us == 3000
    timing = result.timing
    spent = (timing.queue_ms, timing.decode_ms, timing.infer_ms, timing.encode_ms)
    assert all(0 <= ms < 60_000 for ms in spent)
    assert any(spent)


async def test_message_over_the_size_limit_harms_no_other_stream(gated_calls: GatedCalls) -> None:
    good, greedy = await gated_calls.opened(), await gated_calls.opened()
    await greedy.send(frame=frame(0, "x" * gated_calls.max_message_bytes))
    status = await greedy.failure()
    assert code_of(status) is Code.RESOURCE_EXHAUSTED
    await good.send(frame=frame(0))
    assert frame_answers(await good.finish()) == [("result", 0, 0)]
