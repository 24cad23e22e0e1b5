"""Track jobs: words in, masks with identities out, stored."""

from __future__ import annotations

import json
from pathlib import Path

import kinemask
import numpy as np
import pytest
from kinemask import wire
from kinemask.cli.app import app
from kinemask.stored import LeakGuard, TrackOptions
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, segmenter_pb2, videos_pb2
from structlog.testing import capture_logs
from typer.testing import CliRunner

from tests.gateway.following_kit import (
    COLORS,
    HEIGHT,
    WIDTH,
    Thing,
    made,
    moving,
    spans,
    studio,
)
from tests.gateway.jobs_kit import watched
from tests.postgres_kit import Postgres
from tests.threaded_kit import InThread

FRAMES = 60


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


async def test_two_things_are_followed(url: str, tmp_path: Path) -> None:
    things = [
        Thing(moving(4, 10, 1.0)),
        Thing(moving(60, 40, -0.5), color=COLORS[1]),
    ]
    content = made(tmp_path, FRAMES, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        frames = await it.frames(job.job_id)
    assert [frame.frame_index for frame in frames] == list(range(FRAMES))
    assert [entry.object_id for entry in job.track_result.objects] == [1, 2]
    for frame in frames:
        for entry in frame.objects:
            mask = np.zeros((HEIGHT, WIDTH), np.bool_)
            box = things[entry.object_id - 1].visible(frame.frame_index)
            assert box is not None
            mask[box[1] : box[3], box[0] : box[2]] = True
            assert (entry.mask(HEIGHT, WIDTH) == mask).all()
    assert spans(frames, 1) == [(0, FRAMES - 1)]


async def test_an_object_is_carried_back_to_where_it_entered(url: str, tmp_path: Path) -> None:
    things = [Thing(moving(-20, 10, 2.0), seen=lambda frame: frame >= 27)]
    content = made(tmp_path, FRAMES, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id)
        frames = await it.frames(job.job_id)
        short = await it.track(video.video_id, backward_fill=pb.BackwardFill(max_frames=10))
        short_frames = await it.frames(short.job_id)
        without = await it.track(video.video_id, backward_fill=pb.BackwardFill(disabled=True))
        without_frames = await it.frames(without.job_id)
    entered = next(f for f in range(FRAMES) if things[0].visible(f))
    left = max(f for f in range(FRAMES) if things[0].visible(f))
    assert spans(frames, 1) == [(entered, left)]
    first_seen = spans(without_frames, 1)[0][0]
    assert 27 <= first_seen <= 47
    assert spans(short_frames, 1) == [(first_seen - 10, left)]
    origins = {frame.frame_index: frame.objects[0].origin for frame in frames if frame.objects}
    assert {n: origin.name for n, origin in origins.items()} == {
        n: "BACKWARD_FILL" if n < first_seen else "FOLLOWED" for n in range(entered, left + 1)
    }
    for frame in frames:
        box = things[0].visible(frame.frame_index)
        if box is not None:
            assert frame.objects[0].box_xyxy == box


async def test_a_cut_ends_objects_and_the_way_back(url: str, tmp_path: Path) -> None:
    things = [
        Thing(lambda f: moving(10, 10, 1.0)(f) if f < 30 else None),
        Thing(lambda f: moving(10, 40, 0.5)(f) if f >= 30 else None, seen=lambda f: f >= 36),
    ]
    content = made(tmp_path, FRAMES, things, cuts=[30])
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id, leak_guard=pb.LeakGuard())
        frames = await it.frames(job.job_id)
    result = job.track_result
    assert list(result.scene_cut_frame_indices) == [30]
    assert spans(frames, 1) == [(0, 29)]
    assert spans(frames, 2) == [(30, FRAMES - 1)]
    assert pb.RISK_REASON_SCENE_CUT in {risk.reason for risk in result.at_risk}
    assert [frame.scene_cut for frame in frames].index(True) == 30


async def test_a_gap_is_covered(url: str, tmp_path: Path) -> None:
    """Something is hidden for a while: it keeps its id, and the gap is covered and told of."""
    straight = moving(5, 20, 1.0)
    things = [Thing(lambda frame: None if 20 <= frame < 30 else straight(frame))]
    content = made(tmp_path, FRAMES, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        plain = await it.track(video.video_id)
        plain_frames = await it.frames(plain.job_id)
        told = pb.LeakGuard(margin_frames=3, grow_share=0)
        job = await it.track(video.video_id, leak_guard=told)
        frames = await it.frames(job.job_id)
        tight = await it.track(
            video.video_id,
            leak_guard=pb.LeakGuard(margin_frames=3, max_gap_frames=9, grow_share=0),
        )
        tight_frames = await it.frames(tight.job_id)
    assert spans(plain_frames, 1) == [(0, 19), (30, FRAMES - 1)]
    gaps = [risk for risk in plain.track_result.at_risk if risk.object_id == 1]
    assert [(g.first_frame_index, g.last_frame_index, g.reason) for g in gaps] == [
        (20, 29, pb.RISK_REASON_GAP_OPEN)
    ]
    assert spans(frames, 1) == [(0, FRAMES - 1)]
    gaps = [risk for risk in job.track_result.at_risk if risk.object_id == 1]
    assert (20, 29) in {(g.first_frame_index, g.last_frame_index) for g in gaps}
    assert {g.reason for g in gaps} == {pb.RISK_REASON_GAP_COVERED}
    for frame in frames[20:30]:
        box = straight(frame.frame_index)
        mask = frame.objects[0].mask(HEIGHT, WIDTH)
        assert mask[box[1] : box[3], box[0] : box[2]].all()
        assert frame.objects[0].origin.name == "LEAK_GUARD"
    assert spans(tight_frames, 1) == [(0, 22), (27, FRAMES - 1)]
    reasons = [risk.reason for risk in tight.track_result.at_risk if risk.object_id == 1]
    assert set(reasons) == {pb.RISK_REASON_GAP_COVERED, pb.RISK_REASON_GAP_OPEN}


async def test_too_many_objects_are_told_of(url: str, tmp_path: Path) -> None:
    things = [Thing(moving(8 + 20 * n, 20, 0.1), color=COLORS[n]) for n in range(4)]
    content = made(tmp_path, 20, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id, segment=live_pb2.SegmentStage(max_objects=2))
        frames = await it.frames(job.job_id)
    assert {len(frame.objects) for frame in frames} == {2}
    (risk,) = job.track_result.at_risk
    assert (risk.reason, risk.first_frame_index) == (pb.RISK_REASON_TOO_MANY_OBJECTS, 0)
    assert risk.last_frame_index == 19


async def test_prompts_by_hand(url: str, tmp_path: Path) -> None:
    things = [Thing(moving(4, 10, 1.0)), Thing(moving(60, 40, -0.5), color=COLORS[1])]
    content = made(tmp_path, FRAMES, things)
    box = things[1].visible(25)
    assert box is not None
    prompt = segmenter_pb2.ObjectPrompt(object_id=7, box=wire.box_to_message(box))
    told = pb.TrackJobPrompt(frame_index=25, prompt=prompt, label="mine")
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        spec = pb.TrackJobSpec(video_id=video.video_id, prompts=[told])
        answer = await it.library.jobs.CreateTrackJob(pb.CreateTrackJobRequest(spec=spec))
        job = (await watched(it.library, answer.job.job_id))[-1]
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        frames = await it.frames(job.job_id)
    assert [(o.object_id, o.label) for o in job.track_result.objects] == [(7, "mine")]
    assert spans(frames, 7) == [(0, FRAMES - 1)]


async def test_a_range_is_worked_on(url: str, tmp_path: Path) -> None:
    things = [Thing(moving(4, 10, 1.0))]
    content = made(tmp_path, FRAMES, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        wanted = videos_pb2.FrameRange(first_frame_index=10, last_frame_index=24)
        job = await it.track(video.video_id, range=wanted)
        frames = await it.frames(job.job_id)
    assert [frame.frame_index for frame in frames] == list(range(10, 25))
    assert job.track_result.frame_count == 15
    assert spans(frames, 1) == [(10, 24)]


async def test_what_a_service_refuses_fails_the_job(url: str, tmp_path: Path) -> None:
    content = made(tmp_path, 10, [])
    async with studio(url, tmp_path / "data", []) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id, segment=live_pb2.SegmentStage(model="nope"))
    assert job.state == pb.JOB_STATE_FAILED
    assert "nope" in job.error.message


async def test_nothing_to_be_found_is_no_failure(url: str, tmp_path: Path) -> None:
    content = made(tmp_path, 10, [])
    async with studio(url, tmp_path / "data", []) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id)
        frames = await it.frames(job.job_id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert not job.track_result.objects
    assert len(frames) == 10


def test_by_sdk_and_command_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    things = [Thing(moving(4, 10, 1.0)), Thing(moving(60, 40, -0.5), color=COLORS[1])]
    path = tmp_path / "clip.mkv"
    path.write_bytes(made(tmp_path, 30, things))
    with capture_logs(), InThread(studio(url, tmp_path / "data", things)) as it:
        monkeypatch.setenv("KINEMASK_SERVER", it.library.address)
        with kinemask.Client(it.library.address) as client:
            video_id = client.videos.upload(path).video_id
            options = TrackOptions(leak_guard=LeakGuard(grow_share=0.0), last_frame=19)
            job = client.jobs.track(video_id, ["thing"], options)
            assert client.jobs.wait(job.job_id).state == "succeeded"
            found = list(client.jobs.tracks(job.job_id, first_frame=5, object_ids=[2]))
        words = ["jobs", "track", video_id, "--text", "thing", "--wait", "--json", "--end", "10"]
        ran = CliRunner().invoke(app, words)
    assert [frame.index for frame in found] == list(range(5, 20))
    assert {len(frame.objects) for frame in found} == {1}
    assert found[0].objects[0].prompt == "thing"
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["state"], told["video_id"]) == ("succeeded", video_id)
