"""`kinemask jobs`: see what runs, watch it, stop it, fetch what it made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import FAILED, OK, command, say
from kinemask.cli.options import AsJson, Debug, Overwrite, check_target
from kinemask.cli.stored.options import (
    EndFrame,
    FirstFrame,
    Force,
    JobId,
    Progress,
    Server,
    VideoId,
    last_frame,
)

if TYPE_CHECKING:
    from kinemask.stored import Job

_TRACKING = ("worker", "detector", "segmenter", "tracker")

jobs = typer.Typer(help="Long work on stored videos.", no_args_is_help=True)

Text = Annotated[
    list[str],
    typer.Option(
        "--text", "-t", metavar="WORDS", help="What to find; may be repeated.", show_default=False
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has finished.")]
Guard = Annotated[
    bool, typer.Option("--leak-guard", help="Keep things covered where they are lost for a while.")
]
Every = Annotated[
    int, typer.Option(metavar="N", min=0, help="Detect on every n-th frame. Default: 5.")
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", show_default=False)]


@jobs.command(name="list")
@command
def list_jobs(
    video: Annotated[str, typer.Option(help="Only those on this video.")] = "",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """The jobs, newest first."""
    from kinemask.cli.output import print_json, print_tables, table
    from kinemask.cli.stored.bars import described
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        found = list(client.jobs.list(video_id=video))
    if as_json:
        print_json({"jobs": [_json(job) for job in found]})
        return OK
    rows = [
        (job.job_id, job.kind, job.name, described(job), _when(job.create_time)) for job in found
    ]
    print_tables(table(("Job", "Kind", "Name", "State", "Queued"), rows))
    return OK


@jobs.command()
@command
def track(
    video: VideoId,
    text: Text,
    wait: Wait = False,
    leak_guard: Guard = False,
    every: Every = 0,
    detector: Annotated[str, typer.Option(help="Which detector. Default: auto.")] = "",
    segmenter: Annotated[str, typer.Option(help="Which segmenter. Default: auto.")] = "",
    start: FirstFrame = None,
    end: EndFrame = None,
    name: Annotated[str, typer.Option(help="What to call it. Default: the video's name.")] = "",
    progress: Progress = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Find everything that answers the words in a stored video, and follow it.

    [bold]kinemask jobs track VIDEO --text faces --wait[/bold]

    What is found is stored: kinemask render and kinemask export make of it what one likes.
    Without a server to be told of, --wait is needed: the worker started for this run ends with it.
    """
    from kinemask.cli.stored.bars import job_bar
    from kinemask.cli.stored.server import library
    from kinemask.stored import LeakGuard, TrackOptions

    options = TrackOptions(
        detector=detector,
        segmenter=segmenter,
        every_n_frames=every,
        leak_guard=LeakGuard() if leak_guard else None,
        first_frame=start,
        last_frame=last_frame(start, end),
    )
    with library(server, debug=debug, needs=_TRACKING) as client:
        job = client.jobs.track(video, text, options, name=name, resume=True)
        if wait:
            with job_bar(progress) as advance:
                job = client.jobs.wait(job.job_id, advance)
    return _told(job, as_json)


@jobs.command()
@command
def watch(
    job: JobId,
    progress: Progress = True,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Follow a job until it has finished; Ctrl-C leaves it running. Exits 1 if it failed."""
    from kinemask.cli.stored.bars import job_bar
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client, job_bar(progress) as advance:
        done = client.jobs.wait(job, advance)
    return _told(done, as_json)


@jobs.command()
@command
def cancel(job: JobId, server: Server = None, debug: Debug = False) -> int:
    """Stop a job."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        say(f"{job} is {client.jobs.cancel(job).state}")
    return OK


@jobs.command()
@command
def show(job: JobId, server: Server = None, as_json: AsJson = False, debug: Debug = False) -> int:
    """A job as it is now, and the files it made."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        return _told(client.jobs.get(job), as_json)


@jobs.command()
@command
def download(
    job: JobId,
    output: Output,
    file: Annotated[str, typer.Option(help="Which of its files. Default: the main one.")] = "",
    overwrite: Overwrite = False,
    progress: Progress = None,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Fetch a file that a job made."""
    from kinemask.cli.stored.bars import bytes_bar
    from kinemask.cli.stored.server import library

    check_target(output, (output.suffix.lower(),), overwrite, [])
    with library(server, debug=debug) as client, bytes_bar(output.name, progress) as advance:
        client.jobs.download(job, output, output_id=file, on_bytes=advance)
    say(f"wrote {output}")
    return OK


@jobs.command()
@command
def delete(
    job: Annotated[list[str], typer.Argument(metavar="JOB...", show_default=False)],
    force: Force = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Remove jobs with what they made."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        for job_id in job:
            client.jobs.delete(job_id, force=force)
            say(f"deleted {job_id}")
    return OK


def _told(job: Job, as_json: bool) -> int:
    """Print a job; the exit code."""
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.bars import described

    if as_json:
        print_json(_json(job))
    else:
        print(f"{job.job_id}  {job.kind}  {job.name}  {described(job)}")
        for file in job.files:
            print(f"  {file.output_id}  {file.file_name}  {file.size_bytes} bytes")
    if job.error is not None:
        say(f"error: {job.error.message}")
    return FAILED if job.state == "failed" else OK


def _json(job: Job) -> dict[str, object]:
    times = (job.create_time, job.start_time, job.finish_time)
    created, started, finished = (time.isoformat() if time else None for time in times)
    return {
        **vars(job),
        "progress": vars(job.progress),
        "error": str(job.error) if job.error else None,
        "files": [vars(file) for file in job.files],
        "create_time": created,
        "start_time": started,
        "finish_time": finished,
    }


def _when(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M")
