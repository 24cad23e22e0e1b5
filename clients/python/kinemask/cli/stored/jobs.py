"""`kinemask jobs`: see what runs, watch it, stop it, fetch what it made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import FAILED, NOTHING_FOUND, OK, command, say
from kinemask.cli.options import AsJson, Debug, Overwrite, check_target
from kinemask.cli.stored.options import (
    EndFrame,
    FirstFrame,
    Force,
    JobId,
    Progress,
    Salvage,
    Server,
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
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Stay until it has finished. Default: if services are started for this run, as they "
        "end with it.",
        show_default=False,
    ),
]
GivenVideo = Annotated[
    str,
    typer.Argument(
        metavar="VIDEO", help="A file, or the id of a stored video.", show_default=False
    ),
]
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
    video: GivenVideo,
    text: Text,
    wait: Wait = None,
    leak_guard: Guard = False,
    every: Every = 0,
    detector: Annotated[str, typer.Option(help="Which detector. Default: auto.")] = "",
    segmenter: Annotated[str, typer.Option(help="Which segmenter. Default: auto.")] = "",
    start: FirstFrame = None,
    end: EndFrame = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Lowest score to accept. Default: the model's.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it. Default: the video's name.")] = "",
    salvage: Salvage = False,
    progress: Progress = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Find everything that answers the words in a video, and follow it.

    [bold]kinemask jobs track clip.mp4 --text face[/bold]

    A file is stored first, if it is not in the library yet. What is found is stored too: kinemask
    render and kinemask export make of it what one likes. Exits 3 if nothing was found.
    """
    from kinemask.cli.stored.bars import job_bar
    from kinemask.cli.stored.given import check_given, stored_video
    from kinemask.cli.stored.server import library
    from kinemask.stored import LeakGuard, TrackOptions

    options = TrackOptions(
        detector=detector,
        segmenter=segmenter,
        every_n_frames=every,
        score_threshold=threshold,
        leak_guard=LeakGuard() if leak_guard else None,
        first_frame=start,
        last_frame=last_frame(start, end),
    )
    check_given(video)
    with library(server, debug=debug, needs=_TRACKING) as client:
        video_id = stored_video(client, video, progress, salvage)
        job = client.jobs.track(video_id, text, options, name=name, resume=True)
        if wait or (wait is None and server is None):
            say(f"track job {job.job_id}; interrupted, the same command goes on with it")
            with job_bar(progress) as advance:
                job = client.jobs.wait(job.job_id, advance)
    return _told(job, as_json) or _told_finding(job)


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


def _told_finding(job: Job) -> int:
    """Say what one may do with a track job; the exit code."""
    if job.state != "succeeded":
        return OK
    if not job.objects:
        say("nothing answers these words")
        return NOTHING_FOUND
    say(f"now: kinemask render {job.job_id} --effect blur -o OUT.mp4")
    return OK


def _told(job: Job, as_json: bool) -> int:
    """Print a job; the exit code."""
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.bars import described
    from kinemask.cli.stored.risks import risk_lines

    if as_json:
        print_json(_json(job))
    else:
        print(f"{job.job_id}  {job.kind}  {job.name}  {described(job)}")
        for file in job.files:
            print(f"  {file.output_id}  {file.file_name}  {file.size_bytes} bytes")
        for found in job.objects:
            who = found.name or found.label or "by hand"
            on = f"{found.frame_count} frames from {found.first_frame} to {found.last_frame}"
            print(f"  {found.object_id}  {who}  {on}")
        for line in risk_lines(job.at_risk):
            say(line)
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
        "objects": [vars(found) for found in job.objects],
        "at_risk": [vars(frames) for frames in job.at_risk],
        "create_time": created,
        "start_time": started,
        "finish_time": finished,
    }


def _when(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M")
