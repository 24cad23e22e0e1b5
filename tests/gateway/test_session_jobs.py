"""Renders and exports of annotation sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from kinemask import masks
from kinemask.cli.app import app
from kinemask.v1 import annotations_pb2 as session_pb
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask_chassis.server import running
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService
from typer.testing import CliRunner

from tests.gateway.following_kit import HEIGHT, WIDTH
from tests.gateway.jobs_kit import STALE_S, watched
from tests.gateway.session_kit import (
    FRAMES,
    THINGS,
    Desk,
    by_id,
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


@asynccontextmanager
async def working(url: str, data_dir: Path) -> AsyncIterator[None]:
    settings = WorkerSettings(port=0, database_url=url, data_dir=data_dir, worker_stale_s=STALE_S)
    async with running(WorkerService(settings)):
        yield


async def prepared(it: Desk, folder: Path) -> str:
    video = await it.library.add(film(folder), "made.mkv")
    session_id = await it.session(video.video_id)
    await it.say(session_id, 0, drawn(truth(THINGS[0], 0)), label="red")
    await it.propagate(session_id)
    return session_id


def export_of(session_id: str) -> pb.CreateExportJobRequest:
    source = pb.TrackSource(session_id=session_id)
    spec = pb.ExportJobSpec(source=source, format=pb.EXPORT_FORMAT_COCO_VIDEO)
    return pb.CreateExportJobRequest(spec=spec)


def render_of(session_id: str, **rule: object) -> pb.CreateRenderJobRequest:
    solid = pb.RenderRule(effects=[live_pb2.Effect(name="solid")], **rule)  # type: ignore[arg-type]  # whatever a test names
    source = pb.TrackSource(session_id=session_id)
    return pb.CreateRenderJobRequest(spec=pb.RenderJobSpec(source=source, rules=[solid]))


async def downloaded(it: Desk, job_id: str, output_id: str = "") -> bytes:
    request = pb.DownloadOutputRequest(job_id=job_id, output_id=output_id)
    chunks = [a.chunk.data async for a in it.library.jobs.DownloadOutput(request)]
    return b"".join(chunks)


async def test_a_session_is_exported_as_it_is_when_the_job_begins(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        async with working(url, tmp_path / "data"):
            queued = await it.library.jobs.CreateExportJob(export_of(session_id))
            job = (await watched(it.library, queued.job.job_id))[-1]
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        told = json.loads(await downloaded(it, job.job_id))
        await it.stub.DeleteSession(session_pb.DeleteSessionRequest(session_id=session_id))
    assert len(told["images"]) == FRAMES
    assert [entry["name"] for entry in told["categories"]] == ["red"]
    assert len(told["annotations"]) == FRAMES
    for entry in told["annotations"]:
        number = told["images"][entry["image_id"] - 1]["frame_id"]
        mask = masks.decode_rle(entry["segmentation"]["counts"].encode(), HEIGHT, WIDTH)
        assert (mask == truth(THINGS[0], number)).all()


async def test_a_session_is_rendered_and_its_audit_names_it(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        await it.say(session_id, 30, click_on(THINGS[1], 30))
        revision = (await it.get(session_id)).revision
        queued = await it.library.jobs.CreateRenderJob(render_of(session_id))
        async with refusal() as refused:
            await it.stub.DeleteSession(session_pb.DeleteSessionRequest(session_id=session_id))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")
        async with working(url, tmp_path / "data"):
            job = (await watched(it.library, queued.job.job_id))[-1]
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
    audit = job.render_result.audit
    assert (audit.session_id, audit.session_revision) == (session_id, revision)
    assert not audit.HasField("track")
    assert [entry.frame_count for entry in audit.objects] == [FRAMES, 1]
    assert all(entry.min_coverage == 1 for entry in audit.objects)
    risky = [
        (risk.object_id, risk.first_frame_index, risk.last_frame_index) for risk in audit.at_risk
    ]
    assert risky == [(2, 0, 29), (2, 31, FRAMES - 1)]


async def test_a_job_is_refused_for_what_is_not_there(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path / "data") as it:
        session_id = await prepared(it, tmp_path)
        jobs = it.library.jobs
        async with refusal() as refused:
            await jobs.CreateRenderJob(render_of("nobody"))
        assert refused.reason == "NO_SUCH_SESSION"
        async with refusal() as refused:
            await jobs.CreateRenderJob(render_of(session_id, object_ids=[7]))
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "NO_SUCH_OBJECT",
        )
        async with refusal() as refused:
            await jobs.CreateRenderJob(render_of(session_id, only_names=["Ada"]))
        assert refused.reason == "NO_NAMES"


async def test_the_commands_take_sessions(url: str, tmp_path: Path) -> None:
    target = tmp_path / "tracks.csv"
    async with desk(url, tmp_path / "data") as it, working(url, tmp_path / "data"):
        session_id = await prepared(it, tmp_path)
        words = ["export", session_id, "--session", "--format", "csv", "-o", str(target)]
        server = ["--server", it.library.address]
        ran = await asyncio.to_thread(CliRunner().invoke, app, [*words, *server])
        assert ran.exit_code == 0, ran.stderr
        safe = tmp_path / "safe.mp4"
        words = ["render", session_id, "--session", "--effect", "blur", "-o", str(safe)]
        ran = await asyncio.to_thread(CliRunner().invoke, app, [*words, *server])
        assert ran.exit_code == 0, ran.stderr
    assert len(target.read_text().splitlines()) == FRAMES + 1
    assert safe.stat().st_size > 0


async def test_a_session_begins_with_a_track_job(url: str, tmp_path: Path) -> None:
    """What a job has found is corrected, and the rest of it stays."""
    from tests.gateway.following_kit import studio

    async with studio(url, tmp_path / "data", THINGS) as it:
        video = await it.library.add(film(tmp_path), "made.mkv")
        job = await it.track(video.video_id)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
    async with desk(url, tmp_path / "data") as at:
        session_id = await at.session(video.video_id, track_job_id=job.job_id)
        session = await at.get(session_id)
        assert [entry.label for entry in session.objects] == ["thing", "thing"]
        assert [entry.masked_frame_count for entry in session.objects] == [FRAMES, FRAMES]
        assert not session.stale_frames
        before = await at.masks(session_id)
        await at.say(session_id, 20, drawn(truth(THINGS[1], 20), 1))
        await at.propagate(session_id)
        after = await at.masks(session_id)
        other = await at.library.add(film(tmp_path, 10), "other.mkv")
        async with refusal() as refused:
            await at.session(other.video_id, track_job_id=job.job_id)
        assert refused.reason == "TRACK_JOB_OF_OTHER_VIDEO"
    for number in range(20):
        assert list(after[number].objects) == list(before[number].objects)
    for number in range(20, FRAMES):
        assert (by_id(after[number].objects)[1] == truth(THINGS[1], number)).all()
