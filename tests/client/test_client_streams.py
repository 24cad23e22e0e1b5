"""Streams of the asyncio client against servers that answer, drop, leave and vanish."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable

import grpc
import kinemask
import numpy as np
import pytest

from tests.client.client_fakes import MASK, Fakes, Script, rich_status, serving

IMAGE = b"any bytes: the fake does not look"


@pytest.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving() as (running, _):
        yield running


async def stream_of(
    client: kinemask.AsyncClient, count: int, **options: object
) -> list[kinemask.LiveFrame]:
    """Every answer to `count` frames."""
    answers = client.track([IMAGE] * count, options=kinemask.StreamOptions(**options))  # type: ignore[arg-type]  # a test's shorthand
    return [answer async for answer in answers]


def ids(answers: list[kinemask.LiveFrame]) -> list[int]:
    return [answer.frame_id for answer in answers]


def seen_by_state(answer: kinemask.LiveFrame) -> list[int]:
    return [int(frame_id) for frame_id in json.loads(answer.caption)]


async def test_every_frame_is_answered_in_order(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = await stream_of(client, 30)
    assert ids(answers) == list(range(30))
    assert seen_by_state(answers[-1]) == list(range(30))
    assert fakes.streams.connections == 1


async def test_block_never_has_more_than_the_window_unanswered(fakes: Fakes) -> None:
    hold = asyncio.Event()
    fakes.streams.scripts = [Script(window=3, hold=hold)]
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        for _ in range(3):
            await stream.send(IMAGE)
        fourth = asyncio.create_task(stream.send(IMAGE))
        await until(lambda: fakes.streams.read == 3)
        assert not fourth.done()
        hold.set()
        assert await fourth == 3
        await stream.finish()
        assert [answer.frame_id async for answer in stream] == [0, 1, 2, 3]
    assert fakes.streams.max_unanswered <= 3


async def test_latest_never_waits_and_announces_what_was_never_sent(fakes: Fakes) -> None:
    hold = asyncio.Event()
    fakes.streams.scripts = [Script(window=2, hold=hold)]
    options = kinemask.StreamOptions(policy="latest")
    client = kinemask.AsyncClient(fakes.address)
    async with client, client.live(options=options) as stream:
        for _ in range(200):
            await asyncio.wait_for(stream.send(IMAGE), 10)
        hold.set()
        await stream.finish()
        answers = [answer async for answer in stream]
    assert ids(answers) == list(range(200))
    dropped = [answer for answer in answers if answer.skipped]
    assert len(dropped) == 200 - fakes.streams.read
    assert fakes.streams.read <= 2 + 64 + 2
    assert {type(a.error) for a in dropped} == {kinemask.AbortedError}
    assert answers[-1].ok, "the newest frame is never the one dropped"


async def test_reject_drops_the_new_frame(fakes: Fakes) -> None:
    hold = asyncio.Event()
    fakes.streams.scripts = [Script(window=2, hold=hold)]
    options = kinemask.StreamOptions(policy="reject")
    client = kinemask.AsyncClient(fakes.address)
    async with client, client.live(options=options) as stream:
        for _ in range(200):
            await asyncio.wait_for(stream.send(IMAGE), 10)
        hold.set()
        await stream.finish()
        answers = [answer async for answer in stream]
    assert ids(answers) == list(range(200))
    refused = [answer.error for answer in answers if answer.error is not None]
    assert len(refused) == 200 - fakes.streams.read >= 200 - (2 + 64 + 2)
    assert {type(error) for error in refused} == {kinemask.ResourceExhaustedError}
    assert {error.reason for error in refused} == {"WINDOW_EXCEEDED"}
    assert answers[0].ok and answers[1].ok, "the oldest frames are never those dropped"


async def test_errors_and_skips_take_their_frames_place(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(bad_frames=frozenset({2}), skip=(4, 6))]
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = await stream_of(client, 10)
    assert ids(answers) == list(range(10))
    bad = answers[2]
    assert isinstance(bad.error, kinemask.InvalidArgumentError)
    assert bad.error.violations[0].field == "f"
    assert not bad.skipped and not bad.ok
    assert [answer.frame_id for answer in answers if answer.skipped] == [4, 5, 6]
    assert answers[5].error is not None and answers[5].error.reason == "FRAME_DROPPED"
    assert answers[5].objects == ()


async def test_a_skipped_range_may_go_over_frames_that_were_never_sent(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(window=2, skip=(0, 3))]
    options = kinemask.StreamOptions(policy="latest")
    client = kinemask.AsyncClient(fakes.address)
    async with client, client.live(options=options) as stream:
        await stream.send(IMAGE)
        await until(lambda: fakes.streams.read == 1)
        for _ in range(3):  # nothing is written in between, and only two may wait
            await stream.send(IMAGE)
        await until(lambda: fakes.streams.read == 3)
        await stream.send(IMAGE)
        await stream.finish()
        answers = [answer async for answer in stream]
    assert fakes.streams.read == 4, "frame 1 was not dropped before it was sent"
    assert ids(answers) == [0, 1, 2, 3, 4]
    assert [answer.skipped for answer in answers] == [True] * 4 + [False]


@pytest.mark.parametrize(
    "leave_after",
    [
        pytest.param(1, id="at once"),
        pytest.param(7, id="in the middle"),
        pytest.param(20, id="with the last frame"),
    ],
)
async def test_go_away_loses_no_frame(fakes: Fakes, leave_after: int) -> None:
    fakes.streams.scripts = [Script(go_away_after=leave_after)]
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = await stream_of(client, 20)
    assert ids(answers) == list(range(20))
    assert all(answer.ok for answer in answers)
    assert seen_by_state(answers[-1]) == list(range(20)), "each frame was worked on exactly once"
    assert fakes.streams.connections == 2
    assert fakes.streams.tokens[1] != b""


async def test_many_moves_with_edits_between(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(go_away_after=2) for _ in range(8)]
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        edits = []
        for number in range(20):
            edits.append(stream.prompt(number + 1, points=[(1, 1)]))
            await stream.send(IMAGE)
        await stream.finish()
        answers = [answer async for answer in stream]
        acks = [await edit for edit in edits]
    assert ids(answers) == list(range(20))
    for number, answer in enumerate(answers):
        assert [found.object_id for found in answer.objects] == list(range(1, number + 2))
    assert [ack.frame_id for ack in acks] == list(range(20))


async def test_events_tell_of_a_move(fakes: Fakes, caplog: pytest.LogCaptureFixture) -> None:
    fakes.streams.scripts = [Script(go_away_after=3)]
    events: list[kinemask.StreamEvent] = []
    caplog.set_level(logging.INFO, "kinemask.client")
    async with kinemask.AsyncClient(fakes.address) as client:
        await stream_of(client, 10, on_event=events.append)
    assert [event.kind for event in events] == ["go_away", "resumed"]
    assert events[1].last_frame_id == 2
    assert "the stream goes on" in caplog.text


async def test_a_callback_that_fails_does_not_end_the_stream(fakes: Fakes) -> None:
    def fail(event: kinemask.StreamEvent) -> None:
        raise RuntimeError("the caller's bug")

    fakes.streams.scripts = [Script(go_away_after=3)]
    async with kinemask.AsyncClient(fakes.address) as client:
        assert len(await stream_of(client, 10, on_event=fail)) == 10


@pytest.mark.parametrize("after", [1, 4, 5, 9, 19])
async def test_a_vanished_server_is_survived_from_a_snapshot(fakes: Fakes, after: int) -> None:
    fakes.streams.scripts = [Script(abort_after=after), Script(abort_after=5)]
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = await stream_of(client, 20, snapshot_every_n_frames=4)
    assert ids(answers) == list(range(20))
    assert all(answer.ok for answer in answers)
    assert seen_by_state(answers[-1]) == list(range(20))
    assert fakes.streams.connections >= 2


async def test_applied_edits_are_applied_again_after_a_snapshot(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(abort_after=6)]
    options = kinemask.StreamOptions(snapshot_every_n_frames=4)
    client = kinemask.AsyncClient(fakes.address)
    async with client, client.live(options=options) as stream:
        for number in range(12):
            stream.prompt(number + 1, points=[(1, 1)])
            await stream.send(IMAGE)
        await stream.finish()
        answers = [answer async for answer in stream]
    for number, answer in enumerate(answers):
        assert [found.object_id for found in answer.objects] == list(range(1, number + 2))


async def test_without_snapshots_a_vanished_server_ends_the_stream(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(abort_after=5, window=5)]
    answers = []
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        for _ in range(5):
            await stream.send(IMAGE)
        with pytest.raises(kinemask.UnavailableError, match="gone"):
            async for answer in stream:
                answers.append(answer)
    assert ids(answers) == list(range(5)), "what was answered is not withheld"


async def test_a_server_that_ends_early_is_an_error(fakes: Fakes) -> None:
    fakes.streams.scripts = [Script(end_after=5)]
    async with kinemask.AsyncClient(fakes.address) as client:
        with pytest.raises(kinemask.UnavailableError) as caught:
            await stream_of(client, 20)
    assert caught.value.reason == "STREAM_ENDED"


async def test_a_killed_server_is_an_error_of_the_tree() -> None:
    async with serving() as (fakes, server):
        client = kinemask.AsyncClient(fakes.address)
        async with client, client.live() as stream:
            await stream.send(IMAGE)
            assert (await anext(aiter(stream))).ok
            await server.stop(0)
            with pytest.raises(kinemask.KinemaskError) as caught:
                for _ in range(100):
                    await stream.send(IMAGE)
    assert caught.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_refused_config_is_raised_on_open(fakes: Fakes) -> None:
    refusal = rich_status(
        grpc.StatusCode.NOT_FOUND, "no model x", "UNKNOWN_MODEL", field_name="segment.model"
    )
    fakes.streams.scripts = [Script(refuse=refusal)]
    async with kinemask.AsyncClient(fakes.address) as client:
        stream = client.live(request_id="abc")
        with pytest.raises(kinemask.NotFoundError, match="no model x") as caught:
            await stream.open()
    assert caught.value.reason == "UNKNOWN_MODEL"
    assert caught.value.request_id == "abc"
    assert fakes.streams.connections == 1


async def test_opening_waits_for_a_server_that_is_leaving(fakes: Fakes) -> None:
    leaving = rich_status(grpc.StatusCode.UNAVAILABLE, "leaving", "UNAVAILABLE", 0.01)
    fakes.streams.scripts = [Script(refuse=leaving), Script(refuse=leaving)]
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = await stream_of(client, 3)
    assert ids(answers) == [0, 1, 2]
    assert fakes.streams.connections == 3


async def test_a_caller_that_only_sends_is_answered_up_to_a_bound(fakes: Fakes) -> None:
    options = kinemask.StreamOptions(max_unread=20, unread_timeout_s=0.05)
    client = kinemask.AsyncClient(fakes.address)
    async with client, client.live(options=options) as stream:
        for _ in range(20):
            await stream.send(IMAGE)
        with pytest.raises(kinemask.ResourceExhaustedError, match="nobody reads") as caught:
            for _ in range(20):
                await stream.send(IMAGE)
        assert caught.value.reason == "ANSWERS_NOT_READ"
        assert (await anext(aiter(stream))).frame_id == 0


async def test_a_refused_edit_raises_where_it_is_awaited(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        refused = stream.remove(7)
        given = stream.prompt(box=(0, 0, 2, 2), label="cup")
        await stream.send(IMAGE)
        with pytest.raises(kinemask.NotFoundError) as caught:
            await refused
        assert caught.value.reason == "UNKNOWN_OBJECT"
        assert (await given).object_id == 100
        late = await stream.prompt(5, points=[(1, 1)], frame_id=0)
        assert (late.frame_id, late.object_id) == (0, 5)


async def test_edits_without_answers_are_bounded(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        with pytest.raises(kinemask.ResourceExhaustedError) as caught:
            for _ in range(10_000):
                stream.prompt(1, points=[(1, 1)])
        assert caught.value.reason == "TOO_MANY_EDITS"
        await stream.send(IMAGE)
        assert (await anext(aiter(stream))).ok


async def test_closing_resolves_edits_and_refuses_frames(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client:
        async with client.live() as stream:
            edit = stream.prompt(1, points=[(1, 1)])
        with pytest.raises(kinemask.StreamClosedError):
            await edit
        with pytest.raises(kinemask.StreamClosedError):
            await stream.send(IMAGE)
        with pytest.raises(kinemask.StreamClosedError):
            stream.prompt(1, points=[(1, 1)])
        assert [answer async for answer in stream] == []


async def test_frame_ids_must_increase(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        assert await stream.send(IMAGE, frame_id=10, capture_time_us=5) == 10
        with pytest.raises(ValueError, match="expected more than 10, found 10"):
            await stream.send(IMAGE, frame_id=10)
        assert await stream.send(IMAGE) == 11
        answer = await anext(aiter(stream))
        assert (answer.frame_id, answer.capture_time_us) == (10, 5)


async def test_a_source_that_fails_ends_track_with_its_own_error(fakes: Fakes) -> None:
    def source() -> object:
        yield IMAGE
        raise RuntimeError("the camera is gone")

    async with kinemask.AsyncClient(fakes.address) as client:
        with pytest.raises(RuntimeError, match="the camera is gone"):
            async for _ in client.track(source()):  # type: ignore[arg-type]  # of bytes
                pass


async def test_leaving_track_early_ends_the_rpc(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client:
        answers = client.track([IMAGE] * 1000)
        async for _ in answers:
            break
        await answers.aclose()  # type: ignore[attr-defined]  # an async generator
    assert fakes.streams.read < 1000


async def test_live_results_are_typed(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client, client.live() as stream:
        stream.prompt(3, points=[(1, 1)])
        await stream.send(np.zeros((6, 8, 3), np.uint8))
        frame = await anext(aiter(stream))
        found = frame[3]
        assert found.box == (2, 1, 7, 4)
        assert found.state is kinemask.TrackState.CONFIRMED
        assert found.mask is not None and found.mask is found.mask
        np.testing.assert_array_equal(found.mask, MASK)
        assert stream.info is not None and stream.info.window == 4
        assert stream.info.service.service == "fake"


async def test_segment_video_prompts_and_propagates(fakes: Fakes) -> None:
    async with kinemask.AsyncClient(fakes.address) as client, client.segment_video() as stream:
        stream.prompt(2, mask=MASK)
        for _ in range(4):
            await stream.send(IMAGE)
        frame = await anext(aiter(stream))
        np.testing.assert_array_equal(frame.mask_of(2), MASK)
        await until_answered(fakes, 4)
        walked = await stream.propagate(3, 1)
        assert [step.frame_id for step in walked] == [3, 2, 1]


async def test_track_boxes(fakes: Fakes) -> None:
    found = kinemask.Detection(kinemask.Box(0, 0, 4, 4), 0.5, "face")
    async with kinemask.AsyncClient(fakes.address) as client, client.track_boxes() as stream:
        await stream.send([found])
        await stream.send(None)
        await stream.finish()
        answers = [answer async for answer in stream]
    assert answers[0].tracks[0].box == found.box
    assert answers[0].tracks[0].detection_index == 0
    assert answers[1].tracks == ()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a fake in this very loop changes it
            await asyncio.sleep(0)


async def until_answered(fakes: Fakes, count: int) -> None:
    await until(lambda: fakes.streams.answered >= count)
