"""Jobs as rows of Postgres. Every function runs in the caller's transaction.

Invariant: what an attempt writes carries its number, and counts only while no later one has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kinemask_chassis import errors
from psycopg.rows import DictRow

from kinemask_gateway.jobs.body import JobKind, JobOutput, JobPhase, JobState
from kinemask_gateway.library.sql import Connection, change, many, one

_COLUMNS = (
    "job_id, position, kind, state, display_name, spec, video_id, needs_job_id, session_id, "
    "owner_id, queue_id, attempts, worker, phase, done_frames, total_frames, frames_per_s, "
    "left_s, fraction, checkpoint_frames, checkpoint_key, worked_s, error, result, revision, "
    "create_time, start_time, finish_time"
)


MOST_ATTEMPTS = 50
"""A job that takes its worker down with it is not begun more often."""


class JobLostError(Exception):
    """The job was given to another worker, cancelled, or deleted: this attempt is over."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    phase: JobPhase
    done_frames: int
    total_frames: int
    frames_per_s: float
    left_s: float | None
    fraction: float


@dataclass(frozen=True)
class JobRecord:
    """One row."""

    job_id: str
    position: int
    kind: JobKind
    state: JobState
    display_name: str
    spec: bytes
    video_id: str
    needs_job_id: str
    """The track job that it draws or writes; empty for track jobs, and for those of sessions."""
    session_id: str
    """The session that it draws or writes; empty for others."""
    owner_id: str
    queue_id: int
    attempts: int
    worker: str
    phase: int
    done_frames: int
    total_frames: int
    frames_per_s: float
    left_s: float | None
    fraction: float
    checkpoint_frames: int
    checkpoint_key: str
    worked_s: float
    error: bytes | None
    """The serialized google.rpc.Status."""
    result: bytes | None
    revision: int
    create_time: datetime
    start_time: datetime | None
    finish_time: datetime | None


@dataclass(frozen=True)
class NewJob:
    """A job to be queued."""

    kind: JobKind
    spec: bytes
    display_name: str
    video_id: str
    needs_job_id: str = ""
    session_id: str = ""
    owner_id: str = ""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list is of; empty: all."""

    kinds: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    video_id: str = ""
    owner_id: str = ""


async def add(connection: Connection, job_id: str, new: NewJob) -> None:
    """A queued job, not in the queue yet."""
    await change(
        connection,
        "INSERT INTO gateway.jobs (job_id, kind, state, display_name, spec, video_id, "
        "needs_job_id, session_id, owner_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        job_id,
        new.kind,
        JobState.QUEUED,
        new.display_name,
        new.spec,
        new.video_id,
        new.needs_job_id,
        new.session_id,
        new.owner_id,
    )


async def find(connection: Connection, job_id: str, *, lock: bool = False) -> JobRecord | None:
    """One job, or None; `lock` keeps others from changing it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM gateway.jobs WHERE job_id = %s"
    row = await one(connection, query + (" FOR UPDATE" if lock else ""), job_id)
    return _record(row) if row else None


async def get(connection: Connection, job_id: str, *, lock: bool = False) -> JobRecord:
    """The same; raises ServiceError NOT_FOUND."""
    found = await find(connection, job_id, lock=lock)
    if found is None:
        raise no_job(job_id)
    return found


async def page(
    connection: Connection, wanted: JobFilter, before: int | None, size: int
) -> list[JobRecord]:
    """Newest first."""
    rows = await many(
        connection,
        f"SELECT {_COLUMNS} FROM gateway.jobs WHERE owner_id = %(owner_id)s "
        "AND (%(kinds)s::int[] = '{}' OR kind = ANY(%(kinds)s::int[])) "
        "AND (%(states)s::int[] = '{}' OR state = ANY(%(states)s::int[])) "
        "AND (%(video_id)s = '' OR video_id = %(video_id)s) "
        'AND (%(before)s::bigint IS NULL OR "position" < %(before)s) '
        'ORDER BY "position" DESC LIMIT %(size)s',
        {
            "owner_id": wanted.owner_id,
            "kinds": list(wanted.kinds),
            "states": list(wanted.states),
            "video_id": wanted.video_id,
            "before": before,
            "size": size,
        },
    )
    return [_record(row) for row in rows]


async def unfinished(
    connection: Connection, *, video_id: str = "", needs_job_id: str = "", session_id: str = ""
) -> list[JobRecord]:
    """Jobs on a video or session, or that need a job, which have not finished; locked."""
    rows = await many(
        connection,
        f"SELECT {_COLUMNS} FROM gateway.jobs WHERE state <= 3 "
        "AND (video_id = %(video)s AND %(video)s <> '' OR needs_job_id = %(job)s AND %(job)s <> '' "
        "OR session_id = %(session)s AND %(session)s <> '') FOR UPDATE",
        {"video": video_id, "job": needs_job_id, "session": session_id},
    )
    return [_record(row) for row in rows]


async def count_queued(connection: Connection) -> int:
    """Jobs that wait for a worker."""
    row = await one(connection, "SELECT count(*) AS number FROM gateway.jobs WHERE state = 1")
    assert row is not None
    return int(row["number"])


async def outputs(connection: Connection, job_id: str) -> list[JobOutput]:
    """The files of a job, in the order they were added."""
    rows = await many(
        connection,
        "SELECT output_id, object_key, file_name, media_type, size_bytes, sha256 "
        "FROM gateway.job_outputs WHERE job_id = %s ORDER BY position",
        (job_id,),
    )
    return [JobOutput(**row) for row in rows]


async def begin(connection: Connection, job_id: str, worker: str) -> JobRecord | None:
    """Start an attempt; None if there is nothing to do (any more)."""
    found = await find(connection, job_id, lock=True)
    if found is None or found.state.is_finished:
        return None
    if found.state is JobState.CANCELLING:
        await finish(connection, found, JobState.CANCELLED)
        return None
    if found.attempts >= MOST_ATTEMPTS:
        what = f"its workers ended {found.attempts} times without a word; their logs may say why"
        failure = errors.aborted(what, reason="TOO_MANY_ATTEMPTS").to_status()
        await finish(connection, found, JobState.FAILED, error=failure.SerializeToString())
        return None
    await change(
        connection,
        "UPDATE gateway.jobs SET state = %s, attempts = attempts + 1, worker = %s, "
        "start_time = COALESCE(start_time, now()), revision = revision + 1 WHERE job_id = %s",
        *(JobState.RUNNING, worker, job_id),
    )
    return await get(connection, job_id)


async def set_progress(
    connection: Connection, job_id: str, attempt: int, progress: Progress
) -> None:
    """Raises JobLostError if the attempt is over."""
    _check_mine(
        await change(
            connection,
            "UPDATE gateway.jobs SET phase = %s, done_frames = %s, total_frames = %s, "
            "frames_per_s = %s, left_s = %s, fraction = GREATEST(fraction, %s), "
            "revision = revision + 1 WHERE job_id = %s AND attempts = %s AND state IN (2, 3)",
            progress.phase,
            progress.done_frames,
            progress.total_frames,
            progress.frames_per_s,
            progress.left_s,
            progress.fraction,
            job_id,
            attempt,
        )
    )


async def set_checkpoint(
    connection: Connection, job_id: str, attempt: int, key: str, frames: int
) -> None:
    """Raises JobLostError if the attempt is over."""
    _check_mine(
        await change(
            connection,
            "UPDATE gateway.jobs SET checkpoint_key = %s, checkpoint_frames = %s, "
            "revision = revision + 1 WHERE job_id = %s AND attempts = %s AND state IN (2, 3)",
            *(key, frames, job_id, attempt),
        )
    )


async def set_spec(connection: Connection, job_id: str, attempt: int, spec: bytes) -> None:
    """Raises JobLostError if the attempt is over."""
    _check_mine(
        await change(
            connection,
            "UPDATE gateway.jobs SET spec = %s, revision = revision + 1 "
            "WHERE job_id = %s AND attempts = %s AND state IN (2, 3)",
            *(spec, job_id, attempt),
        )
    )


async def finish(
    connection: Connection,
    job: JobRecord,
    state: JobState,
    *,
    result: bytes | None = None,
    error: bytes | None = None,
    worked_s: float = 0.0,
) -> None:
    """End a job of which `job` is the last attempt.

    Raises:
        JobLostError: another attempt has begun, or the job has finished.
    """
    done = state is JobState.SUCCEEDED
    _check_mine(
        await change(
            connection,
            "UPDATE gateway.jobs SET state = %s, result = %s, error = %s, checkpoint_key = '', "
            "fraction = CASE WHEN %s THEN 1 ELSE fraction END, left_s = NULL, frames_per_s = 0, "
            "worked_s = worked_s + %s, worker = '', finish_time = now(), revision = revision + 1 "
            "WHERE job_id = %s AND attempts = %s AND state IN (1, 2, 3)",
            *(state, result, error, done, worked_s, job.job_id, job.attempts),
        )
    )


async def add_output(connection: Connection, job_id: str, position: int, output: JobOutput) -> None:
    """A file of a job that finishes in this transaction."""
    await change(
        connection,
        "INSERT INTO gateway.job_outputs (job_id, position, output_id, object_key, file_name, "
        "media_type, size_bytes, sha256) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        job_id,
        position,
        output.output_id,
        output.object_key,
        output.file_name,
        output.media_type,
        output.size_bytes,
        output.sha256,
    )


async def request_cancel(connection: Connection, job: JobRecord) -> JobState:
    """Stop a job that has not finished: at once if it waits, else its worker does it."""
    if job.state is JobState.QUEUED:
        await finish(connection, job, JobState.CANCELLED)
        return JobState.CANCELLED
    await change(
        connection,
        "UPDATE gateway.jobs SET state = %s, revision = revision + 1 WHERE job_id = %s",
        *(JobState.CANCELLING, job.job_id),
    )
    return JobState.CANCELLING


async def remove(connection: Connection, job_id: str) -> None:
    """Delete the row and its outputs'; an attempt that runs finds itself lost."""
    await change(connection, "DELETE FROM gateway.jobs WHERE job_id = %s", job_id)


def below(job_id: str) -> str:
    """The prefix of everything a job has in the object store."""
    return f"jobs/{job_id}"


def no_job(job_id: str) -> errors.ServiceError:
    """NOT_FOUND."""
    return errors.not_found(f"there is no job {job_id}", job_id=job_id)


def _check_mine(changed: int) -> None:
    if not changed:
        raise JobLostError("the job has gone to another worker, or has been cancelled or deleted")


def _record(row: DictRow) -> JobRecord:
    kind, state = JobKind(row["kind"]), JobState(row["state"])
    return JobRecord(**{**row, "kind": kind, "state": state})
