"""Workers and services die under a track job: what it finds is the same, byte for byte."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest
from kinemask.v1 import jobs_pb2 as pb

from tests.gateway.following_kit import (
    COLORS,
    Studio,
    Thing,
    made,
    moving,
    studio,
    worker_process,
)
from tests.gateway.jobs_kit import job_of, watched
from tests.gateway.library_kit import eventually
from tests.postgres_kit import Postgres

FRAMES = 200
KILLS = 10
THINGS = [
    Thing(moving(-20, 4, 0.4)),
    Thing(moving(90, 20, -0.5), color=COLORS[1], seen=lambda frame: frame % 3 != 0),
    Thing(lambda f: moving(0, 40, 0.5)(f) if not 60 <= f < 80 else None, color=COLORS[2]),
]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


async def queued(it: Studio, video_id: str) -> str:
    return await it.queued(video_id, leak_guard=pb.LeakGuard(), checkpoint_every_n_frames=10)


async def undisturbed(it: Studio, video_id: str) -> str:
    """The checksum of what a job finds that nobody disturbs."""
    job_id = await queued(it, video_id)
    assert (await watched(it.library, job_id))[-1].state == pb.JOB_STATE_SUCCEEDED
    return await it.checksum(job_id)


async def test_ten_kills(url: str, tmp_path: Path) -> None:
    chosen = random.Random(5)
    content = made(tmp_path, FRAMES, THINGS, cuts=[150])
    async with studio(url, tmp_path / "data", THINGS, with_worker=False) as it:
        video_id = (await it.library.add(content, "made.mkv")).video_id
        quiet = worker_process(it)
        try:
            expected = await undisturbed(it, video_id)
        finally:
            quiet.send_signal(signal.SIGTERM)
            await asyncio.to_thread(quiet.wait, 60)
        job_id = await queued(it, video_id)
        running = worker_process(it)
        killed_at: list[tuple[str, float]] = []
        try:
            for number in range(KILLS):
                target = (number + chosen.random()) / KILLS

                async def is_there(target: float = target, attempt: int = number + 1) -> bool:
                    job = await job_of(it.library, job_id)
                    there = job.progress.fraction >= target and job.attempts >= attempt
                    return there or job.state == pb.JOB_STATE_SUCCEEDED

                await eventually(is_there, within_s=60)
                job = await job_of(it.library, job_id)
                running.kill()
                await asyncio.to_thread(running.wait)
                killed_at.append((pb.JobPhase.Name(job.progress.phase), job.progress.fraction))
                running = worker_process(it)
            done = (await watched(it.library, job_id))[-1]
        finally:
            running.kill()
            await asyncio.to_thread(running.wait)
        found = await it.checksum(job_id)
    for phase, fraction in killed_at:
        print(f"killed in {phase} at {fraction:.3f}; masks equal: {found == expected}")
    assert done.state == pb.JOB_STATE_SUCCEEDED
    assert done.attempts > KILLS / 2
    assert found == expected
