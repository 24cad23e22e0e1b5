"""The queue, which is procrastinate's: entries, workers' signs of life, entries of dead workers.

It lives in a schema of its own beside ours. An entry says only which job is to be run; what a job
is, and whether it still needs running, stands in our own table.
"""

from __future__ import annotations

import psycopg
import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.schema import SchemaManager
from psycopg.conninfo import make_conninfo

from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import JobState
from kinemask_gateway.library.sql import Connection, Connects, change, many

SCHEMA = "gateway_queue"
QUEUE = "jobs"
TASK = "run_job"
_LOCK = 0x4B4D_0002
# Its functions and triggers name their tables without a schema.
_USE_SCHEMA = "SET LOCAL search_path TO gateway_queue"

_log = structlog.get_logger(__name__)


async def prepare(database: Connects) -> None:
    """Make the queue's tables where there are none; safe from many at once."""
    async with database.connection() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        made = await many(
            connection,
            "SELECT 1 FROM pg_tables WHERE tablename = 'procrastinate_jobs' AND schemaname = %s",
            (SCHEMA,),
        )
        if not made:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            await connection.execute(_USE_SCHEMA)
            await connection.execute(SchemaManager.get_schema())


def queue_app(conninfo: str) -> App:
    """procrastinate over connections of its own."""
    told = make_conninfo(conninfo, options=f"-c search_path={SCHEMA}")
    return App(connector=PsycopgConnector(conninfo=told, min_size=1, max_size=4))


class JobQueue:
    """Puts jobs in line, and back in line where a worker has failed."""

    def __init__(self, database: Connects, stale_s: float) -> None:
        """`stale_s`: seconds without a sign of life after which a worker counts as dead."""
        self._database = database
        self._stale_s = stale_s
        # It needs no connection of its own: entries are made in the caller's transaction.
        self._app = App(connector=PsycopgConnector())

    async def enqueue(self, connection: Connection, job_id: str) -> None:
        """A new entry for a job, there if the transaction is."""
        await connection.execute(_USE_SCHEMA)
        task = self._app.configure_task(TASK, queue=QUEUE, connection=connection)
        queue_id = await task.defer_async(job_id=job_id)
        await change(
            connection,
            "UPDATE gateway.jobs SET queue_id = %s WHERE job_id = %s",
            *(queue_id, job_id),
        )

    async def mend(self) -> int:
        """Jobs whose worker died or gave up are put in line again; how many.

        Dead is a worker whose last sign of life is `stale_s` old. Many may call this at a time.
        """
        try:
            return await self._mend()
        except psycopg.errors.DeadlockDetected:  # two of us at once: the other one does it
            return 0

    async def _mend(self) -> int:
        async with self._database.connection() as connection:
            rows = await many(
                connection,
                "SELECT job.job_id FROM gateway.jobs job "
                f"LEFT JOIN {SCHEMA}.procrastinate_jobs entry ON entry.id = job.queue_id "
                f"LEFT JOIN {SCHEMA}.procrastinate_workers worker ON worker.id = entry.worker_id "
                "WHERE job.state <= 3 AND (entry.id IS NULL "
                "OR entry.status NOT IN ('todo', 'doing') OR (entry.status = 'doing' "
                "AND (worker.id IS NULL "
                "OR worker.last_heartbeat < now() - make_interval(secs => %s)))) "
                "FOR UPDATE OF job SKIP LOCKED",
                (self._stale_s,),
            )
            for row in rows:
                await self._again(connection, row["job_id"])
        return len(rows)

    async def _again(self, connection: Connection, job_id: str) -> None:
        job = await records.get(connection, job_id)
        await connection.execute(_USE_SCHEMA)
        # Whoever held it finds its entry gone, and its attempt over once another has begun.
        await connection.execute(
            "SELECT procrastinate_finish_job_v1(id, 'failed', true) FROM procrastinate_jobs "
            "WHERE id = %s AND status = 'doing'",
            (job.queue_id,),
        )
        if job.state is JobState.CANCELLING:
            await records.finish(connection, job, JobState.CANCELLED)
            return
        _log.warning("job_requeued", job_id=job_id, attempts=job.attempts, worker=job.worker)
        await self.enqueue(connection, job_id)
