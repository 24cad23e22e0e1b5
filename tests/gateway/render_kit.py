"""A gateway and a worker that renders and exports made-up tracks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask_chassis.server import running
from kinemask_gateway.jobs.settings import WorkerSettings

from tests.gateway.jobs_kit import ROOT, STALE_S, queued, watched
from tests.gateway.library_kit import LibraryCalls
from tests.gateway.render_worker import RenderWorker


@asynccontextmanager
async def render_worker(url: str, data_dir: Path, **settings: Any) -> AsyncIterator[RenderWorker]:
    """A worker inside of this process."""
    chosen = {"worker_stale_s": STALE_S, **settings}
    service = RenderWorker(WorkerSettings(port=0, database_url=url, data_dir=data_dir, **chosen))
    async with running(service):
        yield service


class RenderProcess:
    """A worker that may be killed."""

    def __init__(self, url: str, data_dir: Path) -> None:
        told = {
            "KINEMASK_DATABASE_URL": url,
            "KINEMASK_DATA_DIR": str(data_dir),
            "KINEMASK_PORT": "0",
            "KINEMASK_WORKER_STALE_S": str(STALE_S),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.render_worker"],
            cwd=ROOT,
            env={**os.environ, **told},
            stdout=subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait, 60)


async def track_job(library: LibraryCalls, content: bytes, **told: object) -> str:
    """A finished track job on a video; see render_worker.py for what it can be told."""
    video_id = (await library.add(content)).video_id
    return await track_job_of(library, video_id, **told)


async def track_job_of(library: LibraryCalls, video_id: str, **told: object) -> str:
    job_id = await queued(library, video_id, **(told or {"words": 1}))
    done = (await watched(library, job_id))[-1]
    assert done.state == pb.JOB_STATE_SUCCEEDED, done.error
    return job_id


def rule(*effects: str, **fields: Any) -> pb.RenderRule:
    """A rule of effects by name, by default on everything."""
    return pb.RenderRule(effects=[live_pb2.Effect(name=name) for name in effects], **fields)


def render_request(
    track_id: str, *rules: pb.RenderRule, **fields: Any
) -> pb.CreateRenderJobRequest:
    source = pb.TrackSource(track_job_id=track_id)
    spec = pb.RenderJobSpec(source=source, rules=rules or [rule("blur")], **fields)
    return pb.CreateRenderJobRequest(spec=spec)


async def finished(library: LibraryCalls, request: pb.CreateRenderJobRequest) -> pb.Job:
    """The render, when it is over."""
    answer = await library.jobs.CreateRenderJob(request)
    return (await watched(library, answer.job.job_id))[-1]


async def output(library: LibraryCalls, job: pb.Job, output_id: str = "") -> bytes:
    """A file that a job made."""
    request = pb.DownloadOutputRequest(job_id=job.job_id, output_id=output_id)
    replies = [reply async for reply in library.jobs.DownloadOutput(request)]
    return b"".join(reply.chunk.data for reply in replies[1:])
