"""A worker: a process that runs jobs. As many as wanted share one queue."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

import grpc
import procrastinate
import procrastinate.exceptions
import psycopg
import structlog
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.server import Service

from kinemask_gateway.jobs import queue
from kinemask_gateway.jobs.body import JobBody, JobKind
from kinemask_gateway.jobs.registry import bodies
from kinemask_gateway.jobs.runner import JobRunner
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.library.parts import StoredParts

Bodies = Callable[[WorkerSettings], Mapping[JobKind, JobBody]]

_HEARTBEATS_UNTIL_STALE = 8
_AGAIN_AFTER_S = 1.0
_log = structlog.get_logger(__name__)


class WorkerService(Service[WorkerSettings]):
    """Answers health, and runs jobs."""

    name = "worker"
    rpc_services = ()

    def __init__(self, settings: WorkerSettings, make_bodies: Bodies = bodies) -> None:
        super().__init__(settings)
        self._make_bodies = make_bodies
        self._parts = StoredParts(settings)
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, server: grpc.aio.Server) -> None:
        """It has no rpcs of its own."""

    async def warm_up(self) -> None:
        """Connect, and begin to take jobs."""
        # It tells every entry's arguments and timing; ours says what a person wants to know.
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        await self._parts.open()
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._mend())]

    async def on_drain(self, grace_s: float) -> None:
        """Take no more jobs, and give those that run to others: their checkpoints hold."""
        self._leaving.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def close(self) -> None:
        await self.on_drain(0.0)
        await self._parts.close()

    async def _work(self) -> None:
        """Run jobs until the worker leaves; a database that is away is waited for."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        runner = JobRunner(
            self._parts.database, self._parts.library, self._make_bodies(self.settings), name
        )
        while not self._leaving.is_set():
            try:
                await self._take_jobs(runner)
            except (procrastinate.exceptions.ProcrastinateException, psycopg.Error) as error:
                _log.warning("queue_away", why=str(error))
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _take_jobs(self, runner: JobRunner) -> None:
        app = queue.queue_app(self._parts.database.conninfo)

        @app.task(name=queue.TASK, queue=queue.QUEUE)
        async def run_job(job_id: str) -> None:
            await runner.run(job_id)

        async with app.open_async():
            await app.run_worker_async(
                queues=[queue.QUEUE],
                concurrency=self.settings.worker_jobs,
                install_signal_handlers=False,
                fetch_job_polling_interval=1.0,
                shutdown_graceful_timeout=0.0,
                update_heartbeat_interval=self.settings.worker_stale_s / _HEARTBEATS_UNTIL_STALE,
                stalled_worker_timeout=max(self.settings.worker_stale_s * 10, 60.0),
                delete_jobs="always",
            )

    async def _mend(self) -> None:
        """Put jobs of dead workers in line again."""
        while True:
            try:
                await self._parts.queue.mend()
            except (ServiceError, psycopg.Error) as error:
                _log.warning("cannot_mend", why=str(error))
            await asyncio.sleep(min(_AGAIN_AFTER_S, self.settings.worker_stale_s / 4))
