"""Runs one job at a time from begin to end, and makes sure that it ends exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import grpc
import structlog
from kinemask_chassis import errors
from kinemask_chassis.errors import ServiceError

from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import JobBody, JobFailedError, JobKind, JobOutcome, JobState
from kinemask_gateway.jobs.context import AttemptContext
from kinemask_gateway.jobs.records import JobLostError, JobRecord
from kinemask_gateway.library import loose
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connection, Connects

_LOOK_EVERY_S = 0.2
# Faults of the moment: the job is tried again, by this worker or another.
_PASSING = ("DATABASE_UNAVAILABLE", "OBJECT_STORE_UNAVAILABLE")

_log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The attempt is over and the job is not: the queue gives it to somebody else."""


class JobRunner:
    """Runs jobs on one worker."""

    def __init__(
        self, database: Connects, library: Library, bodies: Mapping[JobKind, JobBody], worker: str
    ) -> None:
        """`worker`: host name and process id, for clients."""
        self._database = database
        self._library = library
        self._bodies = bodies
        self._worker = worker

    async def run(self, job_id: str) -> None:
        """Do what is left of a job.

        Raises:
            Interrupted: it is to be put in line again.
        """
        async with self._database.connection() as connection:
            job = await records.begin(connection, job_id, self._worker)
        if job is None:
            return
        log = _log.bind(job_id=job_id, attempt=job.attempts, kind=job.kind.name)
        log.info("job_begun", checkpoint_frames=job.checkpoint_frames)
        began_s = time.monotonic()
        context = AttemptContext(job, self._database, self._library, self._library.store)
        try:
            state = await self._attempted(job, context, began_s)
        except JobLostError:
            log.warning("job_lost")
        else:
            log.info("job_finished", state=state.name, took_s=round(time.monotonic() - began_s, 3))

    async def _attempted(self, job: JobRecord, context: AttemptContext, began_s: float) -> JobState:
        """Run the body and write down what came of it."""
        state, outcome, error = JobState.SUCCEEDED, None, None
        try:
            outcome = await self._supervised(job, context)
        except _CancelledByClientError:
            state = JobState.CANCELLED
        except JobFailedError as failure:
            code = grpc.StatusCode.FAILED_PRECONDITION
            state, error = JobState.FAILED, ServiceError(code, str(failure), reason=failure.reason)
        except ServiceError as failure:
            if failure.reason in _PASSING:
                raise Interrupted from failure
            state, error = JobState.FAILED, failure
        status = error.to_status().SerializeToString() if error else None
        return await self._finished(job, state, outcome, status, time.monotonic() - began_s)

    async def _supervised(self, job: JobRecord, context: AttemptContext) -> JobOutcome:
        """The body's outcome, unless the job is cancelled, lost, or this worker leaves."""
        body = asyncio.ensure_future(self._body(job, context))
        watch = asyncio.ensure_future(self._watch(job))
        try:
            await asyncio.wait((body, watch), return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                return body.result()
            return _raised(watch)
        except asyncio.CancelledError:
            raise Interrupted from None
        finally:
            context.stopped.set()
            for task in (body, watch):
                task.cancel()
            await asyncio.wait((body, watch))

    async def _body(self, job: JobRecord, context: AttemptContext) -> JobOutcome:
        body = self._bodies.get(job.kind)
        if body is None:
            what = f"this worker does not know how to do {job.kind.name.lower()} jobs"
            raise JobFailedError(what, reason="UNKNOWN_JOB_KIND")
        try:
            return await body.run(context)
        except (JobLostError, JobFailedError):
            raise
        except Exception as error:
            raise errors.from_status(errors.status_from_exception(error)) from error

    async def _watch(self, job: JobRecord) -> None:
        """Returns by an exception: the job is to be stopped, or is another's."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                async with self._database.connection() as connection:
                    now = await records.find(connection, job.job_id)
            except ServiceError:
                continue  # while the database is away nobody can say otherwise
            if now is None or now.attempts != job.attempts or now.state.is_finished:
                raise JobLostError("the job was given to another worker, or deleted")
            if now.state is JobState.CANCELLING:
                raise _CancelledByClientError

    async def _finished(
        self,
        job: JobRecord,
        state: JobState,
        outcome: JobOutcome | None,
        error: bytes | None,
        worked_s: float,
    ) -> JobState:
        """Write down the end, all or nothing, then remove what is not needed any more."""
        try:
            async with self._database.connection() as connection:
                now = await records.get(connection, job.job_id, lock=True)
                if now.state is JobState.CANCELLING:
                    # It came first; a failure may come of what is deleted meanwhile.
                    state, outcome, error = JobState.CANCELLED, None, None
                result = outcome.result if outcome else None
                await records.finish(
                    connection, job, state, result=result, error=error, worked_s=worked_s
                )
                await self._kept(connection, job, outcome)
        except ServiceError as failure:
            if failure.code is grpc.StatusCode.NOT_FOUND:
                raise JobLostError(failure.message) from failure
            raise Interrupted from failure
        await self._tidied(job, outcome)
        return state

    async def _kept(
        self, connection: Connection, job: JobRecord, outcome: JobOutcome | None
    ) -> None:
        if outcome is None:
            await loose.announce(connection, records.below(job.job_id))
            return
        for position, output in enumerate(outcome.outputs):
            await records.add_output(connection, job.job_id, position, output)
        await loose.announce(connection, f"{records.below(job.job_id)}/checkpoints")
        if outcome.on_commit is not None:
            await outcome.on_commit(connection)

    async def _tidied(self, job: JobRecord, outcome: JobOutcome | None) -> None:
        store, base = self._library.store, records.below(job.job_id)
        try:
            if outcome is None:
                await loose.remove(self._database, store, base)
                return
            wanted = {output.object_key for output in outcome.outputs}
            made = await store.keys(f"{base}/outputs")
            await store.delete(*(key for key in made if key not in wanted))
            await loose.remove(self._database, store, f"{base}/checkpoints")
        except ServiceError:
            _log.warning("left_for_the_sweep", job_id=job.job_id)


class _CancelledByClientError(Exception):
    pass


def _raised(watch: asyncio.Future[None]) -> JobOutcome:
    error = watch.exception()
    assert error is not None  # it never returns
    raise error
