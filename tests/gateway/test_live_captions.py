"""The caption stage of a live stream, with a real captioner: beside the masks, never before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kinemask.v1 import live_pb2, streams_pb2
from kinemask_chassis import errors
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.side import SideStage

from tests.captioner.caption_calls import CaptionCalls, captioning
from tests.captioner.grey_engine import POISON, GreyEngine
from tests.gateway.live_kit import (
    World,
    detected,
    edit_prompt,
    next_result,
    numbered,
    prompted,
    stream_frames,
    world,
)
from tests.stream_kit import StreamClient, code_of, eventually, reason_of

CAPTION = live_pb2.STAGE_CAPTION


@dataclass
class Captioned:
    """A gateway with a captioner behind it."""

    world: World
    captioner: CaptionCalls
    engine: GreyEngine


@asynccontextmanager
async def captioned_world(**settings: Any) -> AsyncIterator[Captioned]:
    engine = GreyEngine()
    async with (
        captioning(engine, GreyEngine("others"), captioner_max_delay_ms=0) as captioner,
        world(captioner_addresses=captioner.server.address, **settings) as w,
    ):
        yield Captioned(w, captioner, engine)


def captions(every: int = 4, model: str = "", **options: Any) -> live_pb2.StreamConfig:
    """A stream of masks from prompts, captioned."""
    config = prompted(**options)
    config.caption.every_n_frames = every
    config.caption.model = model
    return config


def reports_of(result: live_pb2.StreamResult) -> list[live_pb2.StageReport]:
    return [report for report in result.stages if report.stage == CAPTION]


async def until_captioned(client: StreamClient, first: int, of: int) -> list[live_pb2.StreamResult]:
    """Send frames from `first` on until one's result has the caption of frame `of`."""
    results: list[live_pb2.StreamResult] = []
    while not results or results[-1].caption_frame_id != of or not results[-1].caption:
        assert len(results) < 2000, "the caption never came"
        results += await stream_frames(client, first + len(results), first + len(results))
        await asyncio.sleep(0)
    return results


async def test_captions_land_on_later_frames_and_say_of_which_they_are() -> None:
    async with captioned_world() as c:
        client = c.world.live.call()
        started = await client.open(captions(every=4))
        assert started.config.caption.every_n_frames == 4
        (stage,) = [s for s in started.stages if s.stage == CAPTION]
        assert (stage.service.service, stage.service.model) == ("captioner", "greys")
        results = await until_captioned(client, 0, of=0)
        assert not results[0].caption and results[-1].caption == "grey 0"
        (report,) = reports_of(results[-1])
        assert (report.source_frame_id, report.HasField("degraded")) == (0, False)
        assert report.total_ms > 0 and report.timing.infer_ms > 0
        # Frame 4, or the first one after it that found the captioner free.
        later = await stream_frames(client, len(results), len(results) + 3)
        told = [r.caption_frame_id for r in [*results, *later]]
        assert set(told) <= {0, *range(4, len(told))}
        assert all(r.caption == f"grey {r.caption_frame_id}" for r in later)


async def test_caption_stays_until_the_next_one() -> None:
    async with captioned_world() as c:
        client = await c.world.live.opened(captions(every=1000))
        seen = await until_captioned(client, 0, of=0)
        results = await stream_frames(client, len(seen), len(seen) + 5)
        assert {(r.caption, r.caption_frame_id) for r in results} == {("grey 0", 0)}
        assert not any(reports_of(r) for r in results)
        assert c.engine.batches == [[0]]


async def test_default_rhythm_is_thirty_frames() -> None:
    async with captioned_world() as c:
        started = await c.world.live.call().open(captions(every=0))
        assert started.config.caption.every_n_frames == 30


async def test_slow_captioner_does_not_hold_up_a_single_mask() -> None:
    async with captioned_world() as c:
        c.engine.go.clear()
        client = await c.world.live.opened(captions(every=2))
        await client.send(edit=edit_prompt(1, 1, (10.0, 10.0, 20.0, 20.0), 0))
        # The captioner answers none of them; the masks of all come back.
        results = await stream_frames(client, 0, 39)
        assert all(len(r.objects) == 1 and r.objects[0].HasField("mask") for r in results)
        assert not any(r.caption for r in results)
        assert c.engine.batches in ([], [[0]]), "more than one request was in flight"
        degraded = [(r.frame_id, reports_of(r)[0].degraded) for r in results if reports_of(r)]
        assert [(frame_id, reason_of(status)) for frame_id, status in degraded] == [
            (2, "STAGE_SLOW")
        ], "the frame that had to do without is told, and told once"
        c.engine.go.set()
        results = await until_captioned(client, 40, of=0)
        # Long overdue: the first frame after the answer is the next one.
        again = results[-1].frame_id
        await until_captioned(client, again + 1, of=again)


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes only"])
async def test_detected_objects_and_captions_go_together(masks: bool) -> None:
    async with captioned_world() as c:
        config = detected(masks=masks)
        config.caption.every_n_frames = 5
        client = await c.world.live.opened(config)
        results = await until_captioned(client, 0, of=0)
        assert results[-1].caption == "grey 0"


@pytest.mark.parametrize(
    ("model", "code"),
    [
        pytest.param("nobody", "NOT_FOUND", id="unknown model"),
        pytest.param("lacking", "FAILED_PRECONDITION", id="model without weights"),
    ],
)
async def test_named_model_that_is_not_there_ends_the_stream(model: str, code: str) -> None:
    async with captioned_world() as c:
        client = c.world.live.call()
        await client.send(config=captions(model=model))
        status = await client.failure()
        assert code_of(status).name == code
        assert ("greys" if code == "NOT_FOUND" else "kinemask models pull") in status.message
        assert c.world.engine.controls.open_streams == 0


async def test_captioner_without_a_model_degrades_its_stage_and_names_the_command() -> None:
    async with (
        captioning() as captioner,
        world(captioner_addresses=captioner.server.address) as w,
    ):
        client = w.live.call()
        started = await client.open(captions(every=3))
        (stage,) = [s for s in started.stages if s.stage == CAPTION]
        assert not stage.HasField("service")
        assert "kinemask models pull lacking" in stage.degraded.message
        results = await until_degraded(client, 0)
        (report,) = reports_of(results[-1])
        assert code_of(report.degraded).name == "FAILED_PRECONDITION"
        assert "kinemask models pull lacking" in report.degraded.message
        assert report.source_frame_id == 0


@pytest.mark.parametrize("addresses", ["", "127.0.0.1:1"], ids=["none configured", "nobody there"])
async def test_captioner_that_is_not_there_degrades_its_stage(addresses: str) -> None:
    async with world(captioner_addresses=addresses) as w:
        client = w.live.call()
        started = await client.open(captions(every=1))
        (stage,) = [s for s in started.stages if s.stage == CAPTION]
        assert code_of(stage.degraded).name == "UNAVAILABLE"
        results = await until_degraded(client, 0)
        assert code_of(reports_of(results[-1])[0].degraded).name == "UNAVAILABLE"


async def until_degraded(client: StreamClient, first: int) -> list[live_pb2.StreamResult]:
    """Send frames from `first` on until one says that a caption failed."""
    results: list[live_pb2.StreamResult] = []
    while not results or not any(r.HasField("source_frame_id") for r in reports_of(results[-1])):
        assert len(results) < 2000, "no report ever came"
        results += await stream_frames(client, first + len(results), first + len(results))
    return results


async def test_failed_caption_is_told_and_the_next_one_comes() -> None:
    async with captioned_world() as c:
        client = await c.world.live.opened(captions(every=5))
        await client.send(frame=numbered(POISON))
        await next_result(client)
        results = await until_degraded(client, POISON + 1)
        (report,) = [r for r in reports_of(results[-1]) if r.HasField("source_frame_id")]
        assert (report.source_frame_id, reason_of(report.degraded)) == (
            POISON,
            "FRAME_NOT_CAPTIONED",
        )
        assert "secret" not in report.degraded.message
        following = POISON + 1 + len(results)
        while not (await stream_frames(client, following, following))[0].caption:
            following += 1


def edit_caption(edit_id: int, **stage: Any) -> live_pb2.StreamEdit:
    return live_pb2.StreamEdit(edit_id=edit_id, caption=live_pb2.CaptionStage(**stage))


async def test_rhythm_and_model_change_while_the_stream_runs() -> None:
    async with captioned_world() as c:
        client = await c.world.live.opened(captions(every=1000))
        seen = len(await until_captioned(client, 0, of=0))
        await client.send(edit=edit_caption(1, every_n_frames=1, model="others"))
        await client.send(frame=numbered(seen))
        replies = [await client.read(), await client.read()]
        (edit,) = [r.edit for r in replies if r.WhichOneof("message") == "edit"]
        assert not edit.HasField("status")
        await until_captioned(client, seen + 1, of=seen)
        assert c.engine.batches == [[0]], "the first model was asked again"


@pytest.mark.parametrize(
    ("config", "model", "reason"),
    [
        pytest.param(captions(), "nobody", "UNKNOWN_MODEL", id="unknown model"),
        pytest.param(captions(), "lacking", "MODEL_ABSENT", id="model without weights"),
        pytest.param(prompted(), "", "NO_CAPTION_STAGE", id="no stage to change"),
    ],
)
async def test_bad_change_is_refused_and_the_stream_goes_on(
    config: live_pb2.StreamConfig, model: str, reason: str
) -> None:
    async with captioned_world() as c:
        client = await c.world.live.opened(config)
        await stream_frames(client, 0, 0)
        await client.send(edit=edit_caption(1, model=model))
        await client.send(frame=numbered(1))
        replies = [await client.read(), await client.read()]
        by_kind = {reply.WhichOneof("message"): reply for reply in replies}
        assert reason_of(by_kind["edit"].edit.status) == reason
        assert by_kind["result"].result.frame_id == 1


async def test_client_that_goes_frees_the_captioner() -> None:
    async with captioned_world() as c:
        c.engine.go.clear()
        client = await c.world.live.opened(captions())
        await stream_frames(client, 0, 3)
        active = c.captioner.server.interceptor
        await eventually(lambda: active.active == 1)
        client.call.cancel()
        await eventually(lambda: active.active == 0)
        c.engine.go.set()


async def test_resumed_stream_still_knows_its_caption() -> None:
    async with captioned_world() as c:
        client = await c.world.live.opened(captions(every=1000))
        seen = len(await until_captioned(client, 0, of=0))
        await client.send(snapshot=streams_pb2.SnapshotRequest())
        token = (await client.read("snapshot")).snapshot.resume_token
        c.engine.go.clear()
        resumed = await c.world.live.opened(captions(every=1000, resume_token=token))
        (result,) = await stream_frames(resumed, seen, seen)
        assert (result.caption, result.caption_frame_id) == ("grey 0", 0)
        c.engine.go.set()


async def test_captioner_is_reached_through_the_gateway_and_listed() -> None:
    async with captioned_world() as c:
        listed = await c.world.live.stub.ListServices(live_pb2.ListServicesRequest())
        (status,) = [one for one in listed.services if one.service == "captioner"]
        assert [model.name for model in status.models] == ["greys", "others", "lacking"]
        assert status.serving


async def test_side_stage_survives_whatever_its_work_raises() -> None:
    answers: list[tuple[int, str]] = []
    asked: list[str] = []

    async def work(item: str, report: live_pb2.StageReport) -> str:
        asked.append(item)
        if item == "bad":
            raise RuntimeError("secret words")
        return item.upper()

    side = SideStage(CAPTION, 1, work, lambda frame_id, answer: answers.append((frame_id, answer)))
    reports = FrameReports()
    for frame_id, item in enumerate(("good", "bad", "fine")):
        side.offer(frame_id, item, reports)
        await eventually(lambda: not side.busy)
    last = FrameReports()
    side.offer(3, "last", last)
    await eventually(lambda: not side.busy)
    assert answers == [(0, "GOOD"), (2, "FINE"), (3, "LAST")]
    (failed,) = [r for r in reports.messages() if r.HasField("degraded")]
    assert failed.source_frame_id == 1
    assert "secret" not in str(failed)
    assert [r.source_frame_id for r in last.messages()] == [2]


async def test_side_stage_tells_a_service_error_as_it_is() -> None:
    async def work(item: int, report: live_pb2.StageReport) -> None:
        raise errors.exhausted("busy", "QUEUE_FULL", 2.0)

    side = SideStage(CAPTION, 1, work, lambda *_: None)
    side.offer(0, 0, FrameReports())
    await eventually(lambda: not side.busy)
    reports = FrameReports()
    side.offer(1, 1, reports)
    side.close()
    assert [reason_of(r.degraded) for r in reports.messages()] == ["QUEUE_FULL"]
