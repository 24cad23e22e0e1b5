"""Annotation sessions: opened, prompted, corrected, looked at."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest
from kinemask import images
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2, videos_pb2
from kinemask_segmenter.engines.flow.engine import FlowEngine

from tests.gateway.following_kit import HEIGHT, WIDTH
from tests.gateway.library_kit import eventually
from tests.gateway.session_kit import (
    FRAMES,
    THINGS,
    Desk,
    by_id,
    click,
    click_on,
    desk,
    drawn,
    film,
    refusal,
    truth,
)
from tests.postgres_kit import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


async def opened(it: Desk, folder: Path) -> tuple[str, str]:
    """A session on a new video: the video's id and its own."""
    video = await it.library.add(film(folder), "made.mkv")
    return video.video_id, await it.session(video.video_id)


async def test_a_session_is_opened_shown_listed_and_closed(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        video_id, session_id = await opened(it, tmp_path)
        session = await it.get(session_id)
        assert session.video_id == video_id
        assert session.display_name == "made.mkv"
        assert session.state == pb.SESSION_STATE_ACTIVE
        assert session.options.model == "colors"
        assert session.options.max_objects == 64
        assert session.service.engine == "colors"
        other = await it.session(video_id, display_name="other")
        page = await it.stub.ListSessions(pb.ListSessionsRequest(page_size=1))
        assert [entry.session_id for entry in page.sessions] == [other]
        page = await it.stub.ListSessions(
            pb.ListSessionsRequest(page_size=1, page_token=page.next_page_token)
        )
        assert [entry.session_id for entry in page.sessions] == [session_id]
        assert not page.next_page_token
        await it.say(session_id, 3, click_on(THINGS[0], 3))
        await it.stub.DeleteSession(pb.DeleteSessionRequest(session_id=session_id))
        async with refusal() as told:
            await it.get(session_id)
        assert told.code is grpc.StatusCode.NOT_FOUND
        assert not [path for path in it.library.files() if session_id in str(path)]


async def test_a_prompt_answers_the_masks_of_its_frame(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        first = await it.say(session_id, 5, click_on(THINGS[0], 5), label="red one")
        assert [p.prompt_id for p in first.prompts] == [1]
        assert (by_id(first.objects)[1] == truth(THINGS[0], 5)).all()
        second = await it.say(session_id, 5, click_on(THINGS[1], 5))
        assert sorted(by_id(second.objects)) == [1, 2]
        assert (by_id(second.objects)[2] == truth(THINGS[1], 5)).all()
        assert second.revision > first.revision
        session = await it.get(session_id)
        assert [entry.label for entry in session.objects] == ["red one", ""]
        assert [list(entry.prompted_frame_indices) for entry in session.objects] == [[5], [5]]
        assert [entry.masked_frame_count for entry in session.objects] == [1, 1]
        spans = [(s.first_frame_index, s.last_frame_index) for s in session.stale_frames]
        assert spans == [(0, 4), (6, FRAMES - 1)]
        masks = await it.masks(session_id)
    assert list(masks) == [5]
    assert list(masks[5].objects) == list(second.objects)


async def test_prompts_of_a_frame_add_up(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        box = THINGS[0].visible(0)
        assert box is not None
        beside = await it.say(session_id, 0, click(box[0], box[1], 1, negative=True))
        wanted = truth(THINGS[0], 0)
        wanted[:, box[0]] = False
        assert (by_id(beside.objects)[1] == wanted).all()
        afresh = await it.say(session_id, 0, click_on(THINGS[1], 0, 1), replace=True)
        assert (by_id(afresh.objects)[1] == truth(THINGS[1], 0)).all()
        listed = await it.stub.ListPrompts(pb.ListPromptsRequest(session_id=session_id))
        assert [entry.prompt_id for entry in listed.prompts] == [3]


async def test_a_mask_by_hand_is_taken_as_it_is(url: str, tmp_path: Path) -> None:
    by_hand = np.zeros((HEIGHT, WIDTH), np.bool_)
    by_hand[7:19, 30:55] = True
    by_hand[3, 3] = True
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        answer = await it.say(session_id, 7, drawn(by_hand))
        assert (by_id(answer.objects)[1] == by_hand).all()
        assert it.engine.pictures == 0
        corrected = await it.say(session_id, 7, click(31, 8, 1, negative=True))
    assert not by_id(corrected.objects)[1][:, 31].any()
    assert by_id(corrected.objects)[1][3, 3]


async def test_prompts_are_taken_back(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 0, click_on(THINGS[0], 0))
        box = THINGS[0].visible(0)
        assert box is not None
        await it.say(session_id, 0, click(box[0], box[1], 1, negative=True))
        remove = pb.RemovePromptsRequest(session_id=session_id, prompt_ids=[2])
        without = await it.stub.RemovePrompts(remove)
        assert (by_id(without.frames[0].objects)[1] == truth(THINGS[0], 0)).all()
        async with refusal() as told:
            await it.stub.RemovePrompts(remove)
        assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_PROMPT")
        last = await it.stub.RemovePrompts(
            pb.RemovePromptsRequest(session_id=session_id, prompt_ids=[1])
        )
        assert not last.frames[0].objects
        session = await it.get(session_id)
        assert not session.stale_frames
        assert not session.objects[0].prompted_frame_indices


@pytest.mark.parametrize("clear_masks", [True, False])
async def test_a_frame_is_cleared(url: str, tmp_path: Path, clear_masks: bool) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 2, click_on(THINGS[0], 2), click_on(THINGS[1], 2))
        await it.say(session_id, 9, click_on(THINGS[0], 9, 1))
        cleared = await it.stub.ClearPrompts(
            pb.ClearPromptsRequest(session_id=session_id, frame_index=2, clear_masks=clear_masks)
        )
        assert cleared.prompt_count == 2
        assert len(cleared.objects) == (0 if clear_masks else 2)
        listed = await it.stub.ListPrompts(pb.ListPromptsRequest(session_id=session_id))
        assert [entry.frame_index for entry in listed.prompts] == [9]


async def test_an_object_is_renamed_and_removed(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 2, click_on(THINGS[0], 2), click_on(THINGS[1], 2))
        update = pb.UpdateObjectRequest(
            session_id=session_id, object_id=2, label="green", color_rgb=0x102030
        )
        entry = (await it.stub.UpdateObject(update)).object
        assert (entry.label, entry.color_rgb, entry.masked_frame_count) == ("green", 0x102030, 1)
        await it.stub.RemoveObject(pb.RemoveObjectRequest(session_id=session_id, object_id=1))
        masks = await it.masks(session_id)
        assert sorted(by_id(masks[2].objects)) == [2]
        third = await it.say(session_id, 2, click_on(THINGS[0], 2))
        assert sorted(by_id(third.objects)) == [2, 3], "an id was given again"


async def test_prompts_are_listed_in_pages(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 9, click_on(THINGS[0], 9))
        for frame in (4, 0, 4):
            await it.say(session_id, frame, click_on(THINGS[0], frame, 1))
        request = pb.ListPromptsRequest(session_id=session_id, page_size=2)
        first = await it.stub.ListPrompts(request)
        request.page_token = first.next_page_token
        second = await it.stub.ListPrompts(request)
        seen = [(p.frame_index, p.prompt_id) for p in [*first.prompts, *second.prompts]]
        assert seen == [(0, 3), (4, 2), (4, 4), (9, 1)]
        assert not second.next_page_token
        wanted = videos_pb2.FrameRange(first_frame_index=1, last_frame_index=5)
        part = await it.stub.ListPrompts(pb.ListPromptsRequest(session_id=session_id, range=wanted))
        assert [p.prompt_id for p in part.prompts] == [2, 4]


async def test_the_overlay_shows_masks_and_prompts(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 5, click_on(THINGS[0], 5))
        request = pb.GetOverlayRequest(session_id=session_id, frame_index=5, jpeg_quality=100)
        plain = images.decode((await it.stub.GetOverlay(request)).jpeg)
        request.object_ids.append(99)
        bare = images.decode((await it.stub.GetOverlay(request)).jpeg)
        del request.object_ids[:]
        request.show_prompts = True
        told = await it.stub.GetOverlay(request)
        with_prompt = images.decode(told.jpeg)
        request.max_side_px = 48
        small = await it.stub.GetOverlay(request)
    assert plain.shape == (HEIGHT, WIDTH, 3)
    changed = np.abs(plain.astype(int) - bare.astype(int)).max(axis=2) > 24
    assert changed[truth(THINGS[0], 5)].mean() > 0.5
    assert not changed[40:, 70:].any()
    assert np.abs(plain.astype(int) - with_prompt.astype(int)).max() > 24
    assert (small.width, small.height) == (48, 32)


async def test_a_repeated_request_changes_nothing(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        first = await it.say(session_id, 5, click_on(THINGS[0], 5), request_id="a")
        again = await it.say(session_id, 5, click_on(THINGS[0], 5), request_id="a")
        assert again == first
        async with refusal() as told:
            await it.say(session_id, 6, click_on(THINGS[0], 6), request_id="a")
        assert told.reason == "REQUEST_ID_REUSED"
        assert len((await it.get(session_id)).objects) == 1


async def test_an_idle_session_leaves_the_memory_and_wakes(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data", session_idle_s=0.2) as it:
        _, session_id = await opened(it, tmp_path)
        await it.say(session_id, 5, click_on(THINGS[0], 5))

        async def asleep() -> bool:
            return (await it.get(session_id)).state == pb.SESSION_STATE_IDLE

        await eventually(asleep)
        assert not (await it.get(session_id)).HasField("service")
        resumed = await it.stub.ResumeSession(pb.ResumeSessionRequest(session_id=session_id))
        assert resumed.session.state == pb.SESSION_STATE_ACTIVE
        assert resumed.session.service.engine == "colors"
        await eventually(asleep)
        more = await it.say(session_id, 5, click_on(THINGS[1], 5))
    assert sorted(by_id(more.objects)) == [1, 2]


async def test_a_session_outlives_the_gateway(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        before = await it.say(session_id, 5, click_on(THINGS[0], 5))
    async with desk(url, tmp_path / "data") as it:
        assert (await it.get(session_id)).state == pb.SESSION_STATE_IDLE
        masks = await it.masks(session_id)
    assert list(masks[5].objects) == list(before.objects)


async def test_a_deleted_video_takes_its_sessions_along(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        video_id, session_id = await opened(it, tmp_path)
        await it.say(session_id, 5, click_on(THINGS[0], 5))
        async with refusal() as told:
            await it.library.videos.DeleteVideo(videos_pb2.DeleteVideoRequest(video_id=video_id))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")
        await it.library.videos.DeleteVideo(
            videos_pb2.DeleteVideoRequest(video_id=video_id, force=True)
        )
        async with refusal() as told:
            await it.say(session_id, 5, click_on(THINGS[0], 5))
        assert told.reason == "NO_SUCH_SESSION"
        async with refusal() as told:
            await it.session(video_id)
        assert told.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("prompts", "frame", "code", "reason"),
    [
        pytest.param(
            [segmenter_pb2.ObjectPrompt()], 5, "INVALID_ARGUMENT", "EMPTY_PROMPT", id="says-nothing"
        ),
        pytest.param([], 5, "INVALID_ARGUMENT", None, id="no-prompt"),
        pytest.param([click(5, 5)], FRAMES, "OUT_OF_RANGE", "NO_SUCH_FRAME", id="frame"),
        pytest.param([click(500, 5)], 5, "INVALID_ARGUMENT", "OUTSIDE_FRAME", id="point"),
        pytest.param([click(5, 5, 7)], 5, "NOT_FOUND", "NO_SUCH_OBJECT", id="unknown-object"),
        pytest.param(
            [click(5, 5, negative=True)], 5, "INVALID_ARGUMENT", "NOTHING_TO_START", id="beside"
        ),
        pytest.param(
            [drawn(np.ones((4, 4), np.bool_))], 5, "INVALID_ARGUMENT", "MASK_SIZE", id="mask-size"
        ),
        pytest.param(
            [drawn(np.zeros((HEIGHT, WIDTH), np.bool_))],
            5,
            "INVALID_ARGUMENT",
            "EMPTY_MASK",
            id="empty-mask",
        ),
        pytest.param(
            [segmenter_pb2.ObjectPrompt(box=media_pb2.Box(x_min=200, y_min=1, x_max=210, y_max=5))],
            5,
            "INVALID_ARGUMENT",
            "OUTSIDE_FRAME",
            id="box",
        ),
        pytest.param(
            [click(5, 5)] * 3, 5, "RESOURCE_EXHAUSTED", "TOO_MANY_OBJECTS", id="too-many-objects"
        ),
    ],
)
async def test_bad_prompts_are_refused_and_change_nothing(
    url: str,
    tmp_path: Path,
    prompts: list[segmenter_pb2.ObjectPrompt],
    frame: int,
    code: str,
    reason: str | None,
) -> None:
    async with desk(url, tmp_path / "data") as it:
        video = await it.library.add(film(tmp_path), "made.mkv")
        options = pb.SessionOptions(max_objects=2)
        session_id = await it.session(video.video_id, options=options)
        before = await it.get(session_id)
        async with refusal() as told:
            await it.say(session_id, frame, *prompts)
        after = await it.get(session_id)
    assert told.code.name == code
    assert reason is None or told.reason == reason
    assert (after.revision, len(after.objects)) == (before.revision, 0)


async def test_what_is_not_there_is_not_found(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        video = await it.library.add(film(tmp_path), "made.mkv")
        for call in (
            it.get("x"),
            it.say("x", 0, click(5, 5)),
            it.masks("x"),
            it.session("x"),
            it.session(video.video_id, options=pb.SessionOptions(model="none-such")),
            it.session(video.video_id, track_job_id="x"),
        ):
            async with refusal() as told:
                await call
            assert told.code is grpc.StatusCode.NOT_FOUND


async def test_without_a_segmenter_the_client_is_told(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        _, session_id = await opened(it, tmp_path)
        await it.stop_segmenter()
        async with refusal() as told:
            await it.say(session_id, 5, click_on(THINGS[0], 5))
        assert told.code is grpc.StatusCode.UNAVAILABLE
        assert not (await it.get(session_id)).objects
        await it.say(session_id, 5, drawn(truth(THINGS[0], 5)))


async def test_the_flow_engine_answers_and_corrects(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data", FlowEngine(threads=1)) as it:
        _, session_id = await opened(it, tmp_path)
        box = THINGS[0].visible(5)
        assert box is not None
        around = media_pb2.Box(x_min=box[0], y_min=box[1], x_max=box[2], y_max=box[3])
        prompt = segmenter_pb2.ObjectPrompt(box=around)
        found = by_id((await it.say(session_id, 5, prompt)).objects)[1]
        wanted = truth(THINGS[0], 5)
        assert (found & wanted).sum() / (found | wanted).sum() > 0.8
        x, y = box[0] + 2, box[1] + 2
        less = by_id((await it.say(session_id, 5, click(x, y, 1, negative=True))).objects)[1]
    assert not less[y, x]
