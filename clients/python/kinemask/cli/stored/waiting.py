"""A job that a command has queued: waited for, told of, and its file fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError, say
from kinemask.cli.stored.bars import bytes_bar, job_bar

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.stored import Job


def made(client: Client, job: Job, output: Path, progress: bool | None) -> Job:
    """Wait for a job and fetch its main file.

    Ctrl-C leaves the job where it is: a running one goes on.

    Raises:
        CommandError: it failed, or was cancelled.
    """
    say(f"{job.kind} job {job.job_id}; interrupted, the same command goes on with it")
    with job_bar(progress) as advance:
        done = client.jobs.wait(job.job_id, advance)
    if done.state != "succeeded":
        why = done.error.message if done.error else f"the job was {done.state}"
        raise CommandError(why, hint=f"kinemask jobs show {done.job_id}")
    with bytes_bar(output.name, progress) as advance_bytes:
        client.jobs.download(done.job_id, output, on_bytes=advance_bytes)
    say(f"wrote {output}")
    return done
