"""A track job's worker needs no more memory for a long video than for a short one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from kinemask.v1 import jobs_pb2 as pb

from tests.gateway.following_kit import COLORS, Thing, made, moving, studio, worker_process
from tests.gateway.jobs_kit import watched
from tests.postgres_kit import Postgres

SHORT = int(os.environ.get("KINEMASK_TEST_SHORT_FRAMES", "400"))
LONG = int(os.environ.get("KINEMASK_TEST_LONG_FRAMES", "1200"))
THINGS = [
    Thing(lambda f: moving(-20, 4, 0.5)(f % 230)),
    Thing(lambda f: moving(90, 20, -0.5)(f % 230), color=COLORS[1], seen=lambda f: f % 3 != 0),
]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


def peak_kib(pid: int) -> int:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


@pytest.mark.timeout(900)
async def test_memory_does_not_grow_with_the_video(url: str, tmp_path: Path) -> None:
    peaks: dict[int, int] = {}
    async with studio(url, tmp_path / "data", THINGS, with_worker=False) as it:
        for frames in (SHORT, LONG):
            content = made(tmp_path, frames, THINGS)
            video_id = (await it.library.add(content, "made.mkv")).video_id
            process = worker_process(it)
            try:
                job_id = await it.queued(video_id, leak_guard=pb.LeakGuard())
                done = (await watched(it.library, job_id))[-1]
                assert done.state == pb.JOB_STATE_SUCCEEDED, done.error
                peaks[frames] = peak_kib(process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, 60)
    print(f"peak KiB by frames: {peaks}")
    assert peaks[LONG] <= 1.1 * peaks[SHORT]
