"""Options that the commands about stored things share."""

from __future__ import annotations

from typing import Annotated

import typer

from kinemask.cli.failures import usage_error

VideoId = Annotated[str, typer.Argument(metavar="VIDEO", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False)]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="KINEMASK_SERVER",
        help="A running gateway. Without it one is started for this run, on the local library.",
    ),
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress. Default: on a terminal.",
        show_default=False,
    ),
]
Salvage = Annotated[
    bool, typer.Option("--salvage", help="Take what can be decoded of a damaged file.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Even if it is in use: jobs that use it are cancelled.")
]
TrackJobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="A track job that has succeeded; or a session.", show_default=False
    ),
]
FromSession = Annotated[
    bool,
    typer.Option("--session", help="JOB is an annotation session: see kinemask annotate."),
]
ObjectIds = Annotated[
    list[int] | None,
    typer.Option(
        "--object", metavar="ID", min=1, help="Only this object; may be repeated. Default: all."
    ),
]
Prompts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        "-t",
        metavar="WORDS",
        help="Only objects that were found by these words; may be repeated.",
    ),
]
FirstFrame = Annotated[
    int | None, typer.Option("--start", metavar="FRAME", min=0, help="First frame, from 0.")
]
EndFrame = Annotated[
    int | None, typer.Option("--end", metavar="FRAME", min=1, help="Frame to stop before.")
]


def last_frame(start: int | None, end: int | None) -> int | None:
    """The last frame of a range that stops before `end`.

    Raises:
        CommandError: it has no frames.
    """
    if end is None:
        return None
    if end <= (start or 0):
        raise usage_error(f"--end {end}: expected a frame after --start {start or 0}")
    return end - 1
