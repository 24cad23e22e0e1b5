"""`kinemask export`: what a track job has found, in the formats of others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import OK, command
from kinemask.cli.options import Debug, Overwrite, check_target
from kinemask.cli.stored.options import (
    EndFrame,
    FirstFrame,
    FromSession,
    ObjectIds,
    Progress,
    Prompts,
    Server,
    TrackJobId,
    last_frame,
)

if TYPE_CHECKING:
    from kinemask.stored.rendering import ExportFormatName


class FormatChoice(StrEnum):
    """What tracks can be written as."""

    coco = "coco"
    youtube_vis = "youtube-vis"
    mot = "mot"
    png = "png"
    csv = "csv"


_ENDINGS = {
    FormatChoice.coco: ".json",
    FormatChoice.youtube_vis: ".json",
    FormatChoice.mot: ".txt",
    FormatChoice.png: ".zip",
    FormatChoice.csv: ".csv",
}

Format = Annotated[
    FormatChoice,
    typer.Option(
        "--format",
        "-f",
        metavar="NAME",
        help="coco (video JSON), youtube-vis (JSON), mot (MOTChallenge text), png (masks in a "
        "zip), csv (tracks).",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", show_default=False)]
MinScore = Annotated[
    float,
    typer.Option(metavar="0..1", min=0, max=1, help="Leave out what is less sure on a frame."),
]
NoGuard = Annotated[
    bool,
    typer.Option("--no-leak-guard", help="Leave out masks that only hold a lost object's place."),
]


@command
def export(
    job: TrackJobId,
    output: Output,
    format_: Format,
    session: FromSession = False,
    object_: ObjectIds = None,
    text: Prompts = None,
    min_score: MinScore = 0.0,
    no_leak_guard: NoGuard = False,
    start: FirstFrame = None,
    end: EndFrame = None,
    overwrite: Overwrite = False,
    progress: Progress = None,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Write what a track job has found as a file that other tools read.

    [bold]kinemask export JOB --format coco -o tracks.json[/bold]

    Interrupted, the same command goes on where it stopped, within a day.
    """
    from kinemask.cli.stored.server import library
    from kinemask.cli.stored.waiting import made
    from kinemask.stored import ExportOptions

    check_target(output, (_ENDINGS[format_],), overwrite, [])
    last = last_frame(start, end)
    options = ExportOptions(
        first_frame=start,
        last_frame=last,
        object_ids=object_ or (),
        prompts=text or (),
        min_score=min_score,
        omit_leak_guard=no_leak_guard,
    )
    kind: ExportFormatName = format_.value
    with library(server, debug=debug, needs=("worker",)) as client:
        queued = client.jobs.export(job, kind, options, resume=not session, from_session=session)
        made(client, queued, output, progress)
    return OK
