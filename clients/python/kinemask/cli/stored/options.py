"""Options that the commands about stored things share."""

from __future__ import annotations

from typing import Annotated

import typer

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
Force = Annotated[
    bool, typer.Option("--force", help="Even if it is in use: jobs that use it are cancelled.")
]
