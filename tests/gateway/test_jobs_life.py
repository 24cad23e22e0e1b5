"""A job's life: queued, watched, cancelled, failed, downloaded, deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import videos_pb2

from tests.gateway.jobs_kit import (
    counting,
    job_of,
    jobs_gateway,
    queued,
    watched,
    worker,
)
from tests.gateway.library_kit import LibraryCalls, eventually, joined
from tests.gateway.test_library_uploads import refused
from tests.postgres_kit import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
async def library(url: str, tmp_path: Path) -> AsyncIterator[LibraryCalls]:
    async with jobs_gateway(url, tmp_path / "data") as calls:
        yield calls


@pytest.fixture
async def video_id(library: LibraryCalls, clip_bytes: bytes) -> str:
    return (await library.add(clip_bytes)).video_id


async def is_running(library: LibraryCalls, job_id: str) -> bool:
    job = await job_of(library, job_id)
    return job.state == pb.JOB_STATE_RUNNING and job.progress.done_frames > 0


async def test_a_job_is_done_and_its_file_downloaded(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id, frames=30, pause_ms=40)
    assert (await job_of(library, job_id)).state == pb.JOB_STATE_QUEUED
    async with worker(url, tmp_path / "data"):
        seen = await watched(library, job_id)
    fractions = [job.progress.fraction for job in seen]
    assert fractions == sorted(fractions)
    assert len(seen) > 4
    assert any(job.progress.frames_per_s > 5 and job.progress.HasField("left_s") for job in seen)
    done = seen[-1]
    assert (done.state, done.attempts, done.progress.fraction) == (pb.JOB_STATE_SUCCEEDED, 1, 1.0)
    assert done.track_result.frame_count == 30
    assert done.HasField("start_time")
    assert done.HasField("finish_time")
    replies = [
        reply
        async for reply in library.jobs.DownloadOutput(
            pb.DownloadOutputRequest(job_id=job_id, offset=2)
        )
    ]
    assert replies[0].file == done.outputs[0].file
    assert joined([r.chunk for r in replies[1:]], 2).split()[0] == b"1"
    # Checkpoints have gone; the video's three objects and the output stay.
    assert len(library.files()) == 4


async def test_a_running_job_is_cancelled_within_a_second(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    async with worker(url, tmp_path / "data", worker_jobs=2):
        for told in ({"pause_ms": 20}, {"stuck": 1}):
            job_id = await queued(library, video_id, frames=100_000, **told)

            async def begun(job_id: str = job_id) -> bool:
                return (await job_of(library, job_id)).state == pb.JOB_STATE_RUNNING

            await eventually(begun)
            asked_s = time.monotonic()
            await library.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id))
            assert (await watched(library, job_id))[-1].state == pb.JOB_STATE_CANCELLED
            assert time.monotonic() - asked_s < 5  # a second on a machine that has nothing else

    async def is_tidy() -> bool:
        return len(library.files()) == 3

    await eventually(is_tidy)
    again = pb.CancelJobRequest(job_id=job_id)
    code, reason = await refused(library.jobs.CancelJob(again))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED")


async def test_a_queued_job_is_cancelled_at_once(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id)
    cancel = pb.CancelJobRequest(job_id=job_id, request_id="x")
    answer = await library.jobs.CancelJob(cancel)
    assert answer.job.state == pb.JOB_STATE_CANCELLED
    assert await library.jobs.CancelJob(cancel) == answer
    other = await queued(library, video_id)
    async with worker(url, tmp_path / "data"):
        assert (await watched(library, other))[-1].state == pb.JOB_STATE_SUCCEEDED
    assert (await job_of(library, job_id)).attempts == 0


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        pytest.param(
            {"fail": "no such word"},
            grpc.StatusCode.FAILED_PRECONDITION,
            "no such word",
            id="the body says why",
        ),
        pytest.param(
            {"crash": 1}, grpc.StatusCode.INTERNAL, "internal error", id="a fault of ours"
        ),
    ],
)
async def test_a_job_that_fails_says_why(
    library: LibraryCalls,
    url: str,
    video_id: str,
    tmp_path: Path,
    told: dict[str, object],
    code: grpc.StatusCode,
    message: str,
) -> None:
    job_id = await queued(library, video_id, **told)
    async with worker(url, tmp_path / "data"):
        failed = (await watched(library, job_id))[-1]
    assert (failed.state, failed.attempts) == (pb.JOB_STATE_FAILED, 1)
    assert failed.error.code == code.value[0]
    assert message in failed.error.message
    download = library.jobs.DownloadOutput(pb.DownloadOutputRequest(job_id=job_id))
    assert (await refused(download.read()))[1] == "JOB_NOT_SUCCEEDED"


async def test_lists_and_deletes(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    ids = [await queued(library, video_id, frames=1) for _ in range(3)]
    ask = pb.ListJobsRequest(page_size=2, video_id=video_id)
    first = await library.jobs.ListJobs(ask)
    assert [job.job_id for job in first.jobs] == ids[:0:-1]
    ask.page_token = first.next_page_token
    assert [j.job_id for j in (await library.jobs.ListJobs(ask)).jobs] == ids[:1]
    async with worker(url, tmp_path / "data"):
        for job_id in ids:
            await watched(library, job_id)
    done = pb.ListJobsRequest(states=[pb.JOB_STATE_SUCCEEDED], kinds=[pb.JOB_KIND_TRACK])
    assert len((await library.jobs.ListJobs(done)).jobs) == 3
    await library.jobs.DeleteJob(pb.DeleteJobRequest(job_id=ids[0]))
    assert len(library.files()) == 3 + 2
    get = library.jobs.GetJob(pb.GetJobRequest(job_id=ids[0]))
    assert (await refused(get))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_video_in_use_is_deleted_only_by_force(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    async with worker(url, tmp_path / "data"):
        job_id = await queued(library, video_id, frames=100_000, pause_ms=20)
        await eventually(lambda: is_running(library, job_id))
        delete = videos_pb2.DeleteVideoRequest(video_id=video_id)
        code, reason = await refused(library.videos.DeleteVideo(delete))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")
        delete_job = pb.DeleteJobRequest(job_id=job_id)
        assert (await refused(library.jobs.DeleteJob(delete_job)))[1] == "IN_USE"
        delete.force = True
        await library.videos.DeleteVideo(delete)
        assert (await watched(library, job_id))[-1].state == pb.JOB_STATE_CANCELLED

    async def is_empty() -> bool:
        return library.files() == []

    await eventually(is_empty)


async def test_what_a_track_job_may_not_ask(library: LibraryCalls, video_id: str) -> None:
    nothing = pb.CreateTrackJobRequest(spec=pb.TrackJobSpec(video_id=video_id))
    assert (await refused(library.jobs.CreateTrackJob(nothing)))[
        0
    ] is grpc.StatusCode.INVALID_ARGUMENT
    beyond = counting(video_id)
    beyond.spec.range.first_frame_index = 30
    assert (await refused(library.jobs.CreateTrackJob(beyond)))[
        0
    ] is grpc.StatusCode.INVALID_ARGUMENT
    nowhere = counting("nowhere")
    assert (await refused(library.jobs.CreateTrackJob(nowhere)))[0] is grpc.StatusCode.NOT_FOUND
    job_id = await queued(library, video_id)
    export = pb.ExportJobSpec(
        source=pb.TrackSource(track_job_id=job_id), format=pb.EXPORT_FORMAT_CSV_TRACKS
    )
    early = library.jobs.CreateExportJob(pb.CreateExportJobRequest(spec=export))
    assert (await refused(early))[1] == "TRACK_JOB_NOT_SUCCEEDED"


async def test_too_many_jobs_are_refused(url: str, tmp_path: Path, clip_bytes: bytes) -> None:
    async with jobs_gateway(url, tmp_path / "data", max_queued_jobs=2) as library:
        video_id = (await library.add(clip_bytes)).video_id
        await asyncio.gather(*(queued(library, video_id) for _ in range(2)))
        code, reason = await refused(library.jobs.CreateTrackJob(counting(video_id)))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS")


async def test_a_gateway_that_leaves_sends_watchers_elsewhere(
    library: LibraryCalls, video_id: str
) -> None:
    job_id = await queued(library, video_id)
    watch = library.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id))
    assert (await watch.read()).job.state == pb.JOB_STATE_QUEUED
    await library.service.on_drain(10.0)
    assert (await refused(watch.read()))[0] is grpc.StatusCode.UNAVAILABLE
