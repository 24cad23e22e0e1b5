"""Workers killed, frozen or sent away: another goes on, and a job finishes exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kinemask.v1 import jobs_pb2 as pb

from tests.gateway.jobs_kit import (
    WorkerProcess,
    job_of,
    jobs_gateway,
    queued,
    watched,
    worker,
)
from tests.gateway.library_kit import LibraryCalls, eventually
from tests.postgres_kit import Postgres

FRAMES = 120


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


async def numbers(library: LibraryCalls, job_id: str) -> list[int]:
    """What the job found, as it is downloaded."""
    request = pb.DownloadOutputRequest(job_id=job_id)
    replies = [reply async for reply in library.jobs.DownloadOutput(request)]
    return [int(n) for n in b"".join(r.chunk.data for r in replies[1:]).split()]


async def past(library: LibraryCalls, job_id: str, frames: int, attempts: int = 1) -> bool:
    job = await job_of(library, job_id)
    done = job.progress.checkpoint_frames >= frames and job.attempts >= attempts
    return done or job.state == pb.JOB_STATE_SUCCEEDED


async def test_a_worker_killed_again_and_again(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id, frames=FRAMES, pause_ms=15, chunk=5)
    chosen = random.Random(1)
    for number in range(1, 4):
        process = WorkerProcess(url, tmp_path / "data")
        target = number * 20

        async def is_there(target: int = target, number: int = number) -> bool:
            return await past(library, job_id, target, attempts=number)

        await eventually(is_there, within_s=60)
        await asyncio.sleep(chosen.uniform(0, 0.1))  # not always right after a checkpoint
        await process.end(signal.SIGKILL)
    before = await job_of(library, job_id)
    assert before.state == pb.JOB_STATE_RUNNING
    assert before.progress.checkpoint_frames >= 60
    async with worker(url, tmp_path / "data"):
        seen = await watched(library, job_id)
    fractions = [job.progress.fraction for job in seen]
    assert fractions == sorted(fractions)
    assert (seen[-1].state, seen[-1].attempts) == (pb.JOB_STATE_SUCCEEDED, 4)
    assert await numbers(library, job_id) == list(range(FRAMES))
    assert len(library.files()) == 3 + 1  # nothing of the dead ones stays


async def test_a_worker_that_only_seemed_dead_does_no_harm(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id, frames=FRAMES, pause_ms=15, chunk=5)
    frozen = WorkerProcess(url, tmp_path / "data")
    try:
        await eventually(lambda: past(library, job_id, 10), within_s=60)
        frozen.send(signal.SIGSTOP)
        async with worker(url, tmp_path / "data"):
            await eventually(lambda: past(library, job_id, 10, attempts=2), within_s=60)
            frozen.send(signal.SIGCONT)  # it goes on with a job that is another's by now
            done = (await watched(library, job_id))[-1]
        assert (done.state, done.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
        assert done.track_result.detected_frame_count == 2  # the second attempt's result
        assert await numbers(library, job_id) == list(range(FRAMES))
    finally:
        frozen.send(signal.SIGCONT)
        await frozen.end()


async def test_a_worker_that_leaves_hands_its_job_over(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id, frames=FRAMES, pause_ms=15, chunk=5)
    leaving = WorkerProcess(url, tmp_path / "data")
    await eventually(lambda: past(library, job_id, 10), within_s=60)
    assert await leaving.end(signal.SIGTERM) == 0
    kept = (await job_of(library, job_id)).progress.checkpoint_frames
    assert kept < FRAMES
    async with worker(url, tmp_path / "data"):
        done = (await watched(library, job_id))[-1]
    assert (done.state, done.attempts) == (pb.JOB_STATE_SUCCEEDED, 2)
    assert await numbers(library, job_id) == list(range(FRAMES))


async def test_a_job_of_a_dead_worker_can_be_cancelled(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    job_id = await queued(library, video_id, frames=100_000, pause_ms=15, chunk=5)
    dead = WorkerProcess(url, tmp_path / "data")
    await eventually(lambda: past(library, job_id, 5), within_s=60)
    await dead.end(signal.SIGKILL)
    await library.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id))
    async with worker(url, tmp_path / "data"):
        assert (await watched(library, job_id))[-1].state == pb.JOB_STATE_CANCELLED


async def test_the_database_dies_under_a_job(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path, postgres: Postgres
) -> None:
    async with worker(url, tmp_path / "data"):
        job_id = await queued(library, video_id, frames=FRAMES, pause_ms=15, chunk=5)
        await eventually(lambda: past(library, job_id, 10))
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)
        await eventually(lambda: past(library, job_id, FRAMES), within_s=60)
        done = (await watched(library, job_id))[-1]
    assert done.state == pb.JOB_STATE_SUCCEEDED
    assert await numbers(library, job_id) == list(range(FRAMES))


async def test_several_jobs_on_several_workers(
    library: LibraryCalls, url: str, video_id: str, tmp_path: Path
) -> None:
    ids = [await queued(library, video_id, frames=20, pause_ms=10) for _ in range(6)]
    async with worker(url, tmp_path / "data", worker_jobs=2), worker(url, tmp_path / "data"):
        ends = await asyncio.gather(*(watched(library, job_id) for job_id in ids))
    assert {(end[-1].state, end[-1].attempts) for end in ends} == {(pb.JOB_STATE_SUCCEEDED, 1)}
