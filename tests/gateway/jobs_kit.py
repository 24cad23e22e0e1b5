"""Jobs that count, on workers that are processes of their own and may be killed."""

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

from kinemask.v1 import detector_pb2, live_pb2
from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis.server import running
from kinemask_gateway.jobs.body import JobKind
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.service import GatewayService

from tests.gateway.counting_worker import CountingWorker
from tests.gateway.library_kit import LibraryCalls, library_gateway

ROOT = Path(__file__).resolve().parents[2]
STALE_S = 2.0
FINISHED = (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED)


class CountingGateway(GatewayService):
    """A gateway that takes track jobs."""

    job_kinds = (JobKind.TRACK, JobKind.RENDER, JobKind.EXPORT)


@asynccontextmanager
async def jobs_gateway(url: str, data_dir: Path, **settings: Any) -> AsyncIterator[LibraryCalls]:
    async with library_gateway(
        url, data_dir, service_class=CountingGateway, worker_stale_s=STALE_S, **settings
    ) as calls:
        yield calls


@asynccontextmanager
async def worker(url: str, data_dir: Path, **settings: Any) -> AsyncIterator[CountingWorker]:
    """A worker inside of this process."""
    chosen = {"worker_stale_s": STALE_S, **settings}
    service = CountingWorker(WorkerSettings(port=0, database_url=url, data_dir=data_dir, **chosen))
    async with running(service):
        yield service


class WorkerProcess:
    """A worker that may be killed."""

    def __init__(self, url: str, data_dir: Path) -> None:
        told = {
            "KINEMASK_DATABASE_URL": url,
            "KINEMASK_DATA_DIR": str(data_dir),
            "KINEMASK_PORT": "0",
            "KINEMASK_WORKER_STALE_S": str(STALE_S),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.counting_worker"],
            cwd=ROOT,
            env={**os.environ, **told},
            stdout=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Its exit code."""
        self._process.send_signal(number)
        return await asyncio.to_thread(self._process.wait, 60)


def counting(video_id: str, **told: object) -> pb.CreateTrackJobRequest:
    """A job that counts; see counting_worker.py for what it can be told."""
    words = [f"{name}={value}" for name, value in told.items()]
    options = detector_pb2.DetectOptions(prompts=words or ["frames=10"])
    spec = pb.TrackJobSpec(video_id=video_id, detect=live_pb2.DetectStage(options=options))
    return pb.CreateTrackJobRequest(spec=spec)


async def queued(library: LibraryCalls, video_id: str, **told: object) -> str:
    answer = await library.jobs.CreateTrackJob(counting(video_id, **told))
    return str(answer.job.job_id)


async def job_of(library: LibraryCalls, job_id: str) -> pb.Job:
    return (await library.jobs.GetJob(pb.GetJobRequest(job_id=job_id))).job  # type: ignore[no-any-return]  # the stub has no types


async def watched(library: LibraryCalls, job_id: str) -> list[pb.Job]:
    """Everything that a watch tells until the job has finished."""
    watch = library.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id))
    return [reply.job async for reply in watch]
