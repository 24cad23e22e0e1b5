"""What goes wrong around renders and exports: kills, cancels, deletes, full disks, damage."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import grpc
import pytest
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import videos_pb2
from kinemask.video import index_video, probe_video

from tests.client.test_video import Source, make_video, times_of
from tests.gateway.jobs_kit import job_of, jobs_gateway, watched
from tests.gateway.library_kit import LibraryCalls, clip, eventually
from tests.gateway.render_kit import (
    RenderProcess,
    finished,
    output,
    render_request,
    render_worker,
    rule,
    track_job,
    track_job_of,
)
from tests.gateway.test_library_uploads import finish, refused
from tests.gateway.test_render import has_no_chunks
from tests.postgres_kit import Postgres

FULL = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five chunks of frames."""
    return clip(tmp_path_factory.mktemp("long"), 1250, width=256, height=192)


async def begun(library: LibraryCalls, track_id: str, *rules: pb.RenderRule) -> str:
    answer = await library.jobs.CreateRenderJob(render_request(track_id, *rules))
    return str(answer.job.job_id)


async def reached(library: LibraryCalls, job_id: str, frames: int, attempts: int = 1) -> bool:
    """Whether so many frames are drawn in the attempt of this number."""
    job = await job_of(library, job_id)
    going = job.attempts == attempts and job.progress.done_frames >= frames
    return going or job.state >= pb.JOB_STATE_SUCCEEDED


async def test_a_killed_render_goes_on_and_comes_out_the_same(
    url: str, tmp_path: Path, long_clip: bytes
) -> None:
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as library:
        async with render_worker(url, data):
            track_id = await track_job(library, long_clip)
            whole = await finished(library, render_request(track_id, rule("overlay", "dim")))
        job_id = await begun(library, track_id, rule("overlay", "dim"))
        chosen = random.Random(2)
        for attempt in (1, 2):
            process = RenderProcess(url, data)
            target = chosen.randrange(200, 600) + 200 * attempt

            async def is_there(frames: int = target, attempt: int = attempt) -> bool:
                return await reached(library, job_id, frames, attempt)

            await eventually(is_there, within_s=60)
            await process.kill()
        before = await job_of(library, job_id)
        assert before.state == pb.JOB_STATE_RUNNING
        assert before.progress.checkpoint_frames > 0
        async with render_worker(url, data):
            done = (await watched(library, job_id))[-1]
        assert (done.state, done.attempts) == (pb.JOB_STATE_SUCCEEDED, 3)
        assert done.outputs[0].file.sha256 == whole.outputs[0].file.sha256
        assert done.render_result.audit.objects == whole.render_result.audit.objects
        await eventually(lambda: has_no_chunks(library))
        assert not list((data / "scratch").iterdir())


@pytest.mark.parametrize("how", ["cancel", "delete the video", "delete the track job"])
async def test_a_render_is_stopped(url: str, tmp_path: Path, long_clip: bytes, how: str) -> None:
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as library, render_worker(url, data, worker_jobs=2):
        track_id = await track_job(library, long_clip)
        job_id = await begun(library, track_id)
        other = await begun(library, await track_job(library, clip(tmp_path)))
        await eventually(lambda: reached(library, job_id, 50))
        if how == "cancel":
            await library.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id))
        elif how == "delete the video":
            video_id = (await job_of(library, track_id)).track.video_id
            delete = videos_pb2.DeleteVideoRequest(video_id=video_id)
            assert (await refused(library.videos.DeleteVideo(delete)))[1] == "IN_USE"
            delete.force = True
            await library.videos.DeleteVideo(delete)
        else:
            remove = pb.DeleteJobRequest(job_id=track_id, force=True)
            await library.jobs.DeleteJob(remove)
        assert (await watched(library, job_id))[-1].state == pb.JOB_STATE_CANCELLED

        async def is_tidy() -> bool:
            left = [path for path in library.files() if job_id in path.parts]
            return not left and not any(data.glob(f"scratch/{job_id}*"))

        await eventually(is_tidy)
        assert (await watched(library, other))[-1].state == pb.JOB_STATE_SUCCEEDED
        if how == "delete the video":
            gone = library.jobs.CreateRenderJob(render_request(track_id))
            assert (await refused(gone))[1] == "VIDEO_DELETED"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("a small file system can only be mounted by root, on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("full", ["the object store", "the worker's folder"])
async def test_a_full_disk(
    url: str, tmp_path: Path, disk: Path, long_clip: bytes, full: str
) -> None:
    data = tmp_path / "data"
    scratch, store = (data, disk) if full == "the object store" else (disk, data / "objects")
    async with (
        jobs_gateway(url, data, object_store=str(store)) as library,
        render_worker(url, scratch, object_store=str(store)),
    ):
        track_id = await track_job(library, long_clip)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 120_000:
                file.write(bytes(65_536))
        before = await library.stored.library.store.keys("jobs")
        for spec in (render_request(track_id), render_request(track_id, rule("overlay"))):
            failed = await finished(library, spec)
            assert (failed.state, failed.error.code) == (pb.JOB_STATE_FAILED, FULL), failed
            assert "full" in failed.error.message

        async def is_tidy() -> bool:
            return await library.stored.library.store.keys("jobs") == before

        await eventually(is_tidy)
        filler.unlink()
        assert (await finished(library, render_request(track_id))).state == pb.JOB_STATE_SUCCEEDED


async def test_damaged_frames_are_rendered_as_far_as_they_go_and_told(
    url: str, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "in.mp4", Source(pts=range(60)))
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size and p.pos]
    content = bytearray(path.read_bytes())
    for victim in packets[20:24]:
        assert victim.pos is not None
        content[victim.pos : victim.pos + victim.size] = b"\xff" * victim.size
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as library, render_worker(url, data):
        upload_id = await library.start(bytes(content))
        await library.send(upload_id, bytes(content))
        request = finish(upload_id, damage_policy=videos_pb2.DAMAGE_POLICY_SALVAGE)
        video = (await library.videos.FinishUpload(request)).video
        assert video.facts.damage
        track_id = await track_job_of(library, video.video_id)
        job = await finished(library, render_request(track_id, rule("solid")))
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        (tmp_path / "out.mp4").write_bytes(await output(library, job))
    frames = video.facts.frame_count
    assert times_of(tmp_path / "out.mp4") == times_in_index(path)[:frames]
    record = job.render_result.audit
    risky = [r for r in record.at_risk if r.reason == pb.RISK_REASON_DAMAGED_FRAME]
    assert risky[0].first_frame_index == video.facts.damage[0].first_frame_index
    assert {entry.min_coverage for entry in record.objects} == {1.0}


def times_in_index(path: Path) -> list[object]:
    index = index_video(path).index
    return [int(pts) * index.time_base for pts in index.pts]


async def test_sound_that_mp4_does_not_take(url: str, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.avi", Source(pts=range(30), audio_codec="wmav2"))
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as library, render_worker(url, data):
        video = await library.add(source.read_bytes(), "in.avi")
        track_id = await track_job_of(library, video.video_id)
        failed = await finished(library, render_request(track_id))
        assert failed.state == pb.JOB_STATE_FAILED
        assert "wmav2 audio cannot be copied" in failed.error.message
        silent = render_request(track_id, audio=pb.AUDIO_POLICY_STRIP)
        job = await finished(library, silent)
        (tmp_path / "out.mp4").write_bytes(await output(library, job))
    assert probe_video(tmp_path / "out.mp4").frame_count == 30


@pytest.mark.parametrize("kind", ["render", "export"])
async def test_tracks_that_are_gone(url: str, tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as library, render_worker(url, data):
        track_id = await track_job(library, clip(tmp_path))
        for key in await library.stored.library.store.keys(f"jobs/{track_id}"):
            if "manifest" not in key:
                await library.stored.library.store.delete(key)
        if kind == "render":
            failed = await finished(library, render_request(track_id))
        else:
            source = pb.TrackSource(track_job_id=track_id)
            spec = pb.ExportJobSpec(source=source, format=pb.EXPORT_FORMAT_CSV_TRACKS)
            answer = await library.jobs.CreateExportJob(pb.CreateExportJobRequest(spec=spec))
            failed = (await watched(library, answer.job.job_id))[-1]
        assert (failed.state, failed.error.code) == (
            pb.JOB_STATE_FAILED,
            grpc.StatusCode.DATA_LOSS.value[0],
        )
