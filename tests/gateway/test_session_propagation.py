"""Masks carried over a video: forwards, backwards, in part, cancelled, and over dead replicas."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from kinemask.v1 import annotations_pb2 as pb
from kinemask_segmenter.engines.flow.engine import FlowEngine

from tests.gateway.library_kit import eventually
from tests.gateway.session_kit import (
    FRAMES,
    THINGS,
    Desk,
    PictureColors,
    by_id,
    click_on,
    desk,
    drawn,
    film,
    refusal,
    truth,
)
from tests.postgres_kit import Postgres
from tests.segmenter.segment_calls import segmenting


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


async def prepared(it: Desk, folder: Path, frames: int = FRAMES) -> str:
    """A session on a video of two squares, neither prompted yet."""
    video = await it.library.add(film(folder, frames), "made.mkv")
    return await it.session(video.video_id)


def assert_true(masks: dict[int, pb.SessionFrame], frames: range) -> None:
    """Both squares are exactly where they are."""
    assert list(masks) == list(frames)
    for number in frames:
        found = by_id(masks[number].objects)
        for object_id, thing in enumerate(THINGS, 1):
            assert (found[object_id] == truth(thing, number)).all(), (number, object_id)


async def test_both_ways_from_different_frames(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 12, click_on(THINGS[0], 12))
        await it.say(session_id, 25, click_on(THINGS[1], 25))
        told = await it.propagate(session_id)
        assert_true(await it.masks(session_id), range(FRAMES))
        session = await it.get(session_id)
    assert told[-1].done
    assert told[-1].revision == session.revision
    assert told[-1].done_frames == told[-1].total_frames
    assert told[0].service.engine == "colors"
    assert not session.stale_frames
    assert [entry.masked_frame_count for entry in session.objects] == [FRAMES, FRAMES]


async def test_masks_come_with_the_progress(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0), click_on(THINGS[1], 0))
        told = await it.propagate(session_id, include_masks=True)
        masks = await it.masks(session_id)
    frames = {answer.frame.frame_index: answer.frame for answer in told if answer.HasField("frame")}
    assert list(frames) == list(range(1, FRAMES))
    assert all(list(frames[number].objects) == list(masks[number].objects) for number in frames)
    done = [answer.done_frames for answer in told]
    assert done == sorted(done)


async def test_a_part_leaves_everything_else_as_it_is(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0), click_on(THINGS[1], 0))
        await it.propagate(session_id)
        before = await it.masks(session_id)
        by_hand = truth(THINGS[1], 20)
        await it.say(session_id, 20, drawn(by_hand, 1))
        told = await it.propagate(session_id, 20, 30)
        after = await it.masks(session_id)
        session = await it.get(session_id)
        stale = [(s.first_frame_index, s.last_frame_index) for s in session.stale_frames]
    assert (told[-1].done_frames, told[-1].total_frames) == (11, 11)
    for number in [*range(20), *range(31, FRAMES)]:
        kept, made = before[number], after[number]
        assert kept.SerializeToString() == made.SerializeToString() or number > 30
        assert list(kept.objects) == list(made.objects)
    assert (by_id(after[20].objects)[1] == by_hand).all()
    for number in range(21, 31):
        assert (by_id(after[number].objects)[1] == truth(THINGS[1], number)).all()
        assert (by_id(after[number].objects)[2] == truth(THINGS[1], number)).all()
    assert stale == [(31, FRAMES - 1)]


async def test_only_some_objects_are_carried(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0), click_on(THINGS[1], 0))
        await it.propagate(session_id, object_ids=[2])
        masks = await it.masks(session_id)
        session = await it.get(session_id)
    assert all(sorted(by_id(masks[number].objects)) == [2] for number in range(1, FRAMES))
    assert [entry.masked_frame_count for entry in session.objects] == [1, FRAMES]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        pytest.param(pb.PROPAGATION_DIRECTION_FORWARDS, range(10, FRAMES), id="forwards"),
        pytest.param(pb.PROPAGATION_DIRECTION_BACKWARDS, range(11), id="backwards"),
    ],
)
async def test_one_way(url: str, tmp_path: Path, direction: Any, expected: range) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 10, click_on(THINGS[0], 10), click_on(THINGS[1], 10))
        await it.propagate(session_id, direction=direction)
        assert_true(await it.masks(session_id), expected)


async def test_what_is_not_stale_is_passed_over(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0), click_on(THINGS[1], 0))
        await it.propagate(session_id, 0, 14)
        told = await it.propagate(session_id, only_stale=True)
        assert told[-1].total_frames == FRAMES - 15
        assert_true(await it.masks(session_id), range(FRAMES))
        again = await it.propagate(session_id, only_stale=True)
    assert [(answer.done, answer.total_frames) for answer in again] == [(True, 0)]


async def test_a_mask_by_hand_stays_as_it_is(url: str, tmp_path: Path) -> None:
    wanted = truth(THINGS[0], 0) | truth(THINGS[0], 3)
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, drawn(wanted))
        await it.propagate(session_id)
        masks = await it.masks(session_id)
    assert (by_id(masks[0].objects)[1] == wanted).all()


class HeldColors(PictureColors):
    """Steps of streams wait where a test says so."""

    def __init__(self) -> None:
        PictureColors.__init__(self)
        self.until = threading.Event()
        self.hold_at = 1 << 30
        self.steps = 0

    def open_stream(self, *args: Any, **kwargs: Any) -> Any:
        stream = PictureColors.open_stream(self, *args, **kwargs)
        step = stream.step

        async def held(*told: Any) -> Any:
            self.steps += 1
            if self.steps > self.hold_at:
                await asyncio.to_thread(self.until.wait, 30)
            return await step(*told)

        stream.step = held  # type: ignore[method-assign, assignment]  # of this one stream
        return stream


async def begun(following: Any) -> None:
    """Return once some frames are stored."""
    while not (await following.read()).done_frames:
        continue


async def rest(following: Any) -> list[pb.PropagateResponse]:
    """What is still to be told."""
    told = []
    while (answer := await following.read()) is not grpc.aio.EOF:
        told.append(answer)
    return told


async def test_while_it_runs_nothing_else_changes_the_session(url: str, tmp_path: Path) -> None:
    engine = HeldColors()
    engine.hold_at = 20
    async with desk(url, tmp_path / "data", engine) as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        request = pb.PropagateRequest(session_id=session_id, request_id="one")
        first = it.stub.Propagate(request)
        await begun(first)
        assert (await it.get(session_id)).state == pb.SESSION_STATE_PROPAGATING
        for call in (
            it.say(session_id, 5, click_on(THINGS[1], 5)),
            it.propagate(session_id),
            it.stub.RemoveObject(pb.RemoveObjectRequest(session_id=session_id, object_id=1)),
        ):
            async with refusal() as told:
                await call
            assert told.code is grpc.StatusCode.FAILED_PRECONDITION
            assert told.reason == "PROPAGATION_RUNNING"
        second = it.stub.Propagate(request)
        engine.until.set()
        one, two = await rest(first), await rest(second)
        assert one[-1] == two[-1]
        assert one[-1].done
        repeated = [a async for a in it.stub.Propagate(request)]
    assert repeated == one[-1:]


async def test_it_is_cancelled_by_a_call(url: str, tmp_path: Path) -> None:
    engine = HeldColors()
    engine.hold_at = 20
    async with desk(url, tmp_path / "data", engine) as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        cancel = pb.CancelPropagationRequest(session_id=session_id)
        async with refusal() as told:
            await it.stub.CancelPropagation(cancel)
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_PROPAGATING")
        following = it.stub.Propagate(pb.PropagateRequest(session_id=session_id))
        await begun(following)
        cancelled = await it.stub.CancelPropagation(cancel)
        async with refusal() as told:
            await rest(following)
        assert (told.code, told.reason) == (grpc.StatusCode.CANCELLED, "PROPAGATION_CANCELLED")
        masks = await it.masks(session_id)
        assert len(masks) == cancelled.done_frames + 1
        engine.until.set()
        await it.propagate(session_id, only_stale=True)
        assert len(await it.masks(session_id)) == FRAMES


async def test_a_client_that_leaves_stops_it(url: str, tmp_path: Path) -> None:
    engine = HeldColors()
    engine.hold_at = 20
    async with desk(url, tmp_path / "data", engine) as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        following = it.stub.Propagate(pb.PropagateRequest(session_id=session_id))
        await begun(following)
        following.cancel()

        async def still() -> bool:
            return (await it.get(session_id)).state != pb.SESSION_STATE_PROPAGATING

        await eventually(still, within_s=5)
        engine.until.set()
        await it.say(session_id, 5, click_on(THINGS[1], 5))


async def test_a_session_deleted_meanwhile_ends_it(url: str, tmp_path: Path) -> None:
    engine = HeldColors()
    engine.hold_at = 20
    async with desk(url, tmp_path / "data", engine) as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        following = it.stub.Propagate(pb.PropagateRequest(session_id=session_id))
        await begun(following)
        await it.stub.DeleteSession(pb.DeleteSessionRequest(session_id=session_id))
        async with refusal() as told:
            await rest(following)
        engine.until.set()
        assert told.reason == "PROPAGATION_LOST"
        assert not [path for path in it.library.files() if session_id in str(path)]


async def test_a_replica_that_leaves_changes_nothing(url: str, tmp_path: Path) -> None:
    """The same masks, to the byte, as when it had stayed; the scores tell of every step."""
    frames, engine = 100, HeldColors()
    engine.hold_at = 70
    async with segmenting(PictureColors()) as other:
        address = other.server.address
        async with desk(url, tmp_path / "data", engine) as it:
            session_id = await prepared(it, tmp_path, frames)
            await it.say(session_id, 0, click_on(THINGS[0], 0))
            quiet = await it.session((await it.get(session_id)).video_id)
            await it.say(quiet, 0, click_on(THINGS[0], 0))
        async with desk(url, tmp_path / "data", engine, also=address) as it:
            engine.steps = 0
            following = it.stub.Propagate(pb.PropagateRequest(session_id=session_id))
            await begun(following)

            async def held() -> bool:
                return engine.steps > engine.hold_at

            await eventually(held)
            stopping = asyncio.ensure_future(it.stop_segmenter())
            engine.until.set()
            told = await rest(following)
            await stopping
            assert told[-1].done
            await it.propagate(quiet)
            lossy, calm = await it.masks(session_id), await it.masks(quiet)
    assert [f.SerializeToString() for f in lossy.values()] == [
        f.SerializeToString() for f in calm.values()
    ]


async def test_without_any_replica_the_rest_is_done_later(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, drawn(truth(THINGS[0], 0)), drawn(truth(THINGS[1], 0)))
        await it.propagate(session_id, 0, 9)
    async with desk(url, tmp_path / "data") as it:
        await it.propagate(session_id, only_stale=True)
        assert_true(await it.masks(session_id), range(FRAMES))


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        pytest.param({}, "FAILED_PRECONDITION", "NO_PROMPTS", id="no-prompts"),
        pytest.param({"first": FRAMES}, "OUT_OF_RANGE", "NO_SUCH_FRAME", id="beyond-the-end"),
        pytest.param({"first": 9, "last": 3}, "INVALID_ARGUMENT", None, id="upside-down"),
        pytest.param({"object_ids": [9]}, "NOT_FOUND", "NO_SUCH_OBJECT", id="unknown-object"),
    ],
)
async def test_bad_requests_are_refused(
    url: str, tmp_path: Path, fields: dict[str, Any], code: str, reason: str | None
) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        async with refusal() as told:
            await it.propagate(session_id, **fields)
        assert told.code.name == code
        assert reason is None or told.reason == reason
        assert (await it.get(session_id)).state == pb.SESSION_STATE_ACTIVE


async def test_a_range_that_nothing_leads_to_is_refused(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        async with refusal() as told:
            await it.propagate(session_id, 20, 30)
        assert (told.code, told.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "NOTHING_TO_CARRY",
        )
        async with refusal() as told:
            await it.propagate("nobody")
        assert told.reason == "NO_SUCH_SESSION"


async def test_many_sessions_at_once(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        video = await it.library.add(film(tmp_path), "made.mkv")
        ids = [await it.session(video.video_id) for _ in range(6)]
        await asyncio.gather(
            *(it.say(i, 3, click_on(THINGS[0], 3), click_on(THINGS[1], 3)) for i in ids)
        )
        await asyncio.gather(*(it.propagate(i) for i in ids))
        for session_id in ids:
            assert_true(await it.masks(session_id), range(FRAMES))


async def test_the_flow_engine_carries_both_ways(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data", FlowEngine(threads=1)) as it:
        session_id = await prepared(it, tmp_path, 20)
        await it.say(session_id, 10, drawn(truth(THINGS[0], 10)))
        await it.propagate(session_id)
        masks = await it.masks(session_id)
    assert list(masks) == list(range(20))
    for number, frame in masks.items():
        found, wanted = by_id(frame.objects)[1], truth(THINGS[0], number)
        assert (found & wanted).sum() / (found | wanted).sum() > 0.7, number
