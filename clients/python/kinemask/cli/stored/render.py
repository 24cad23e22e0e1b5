"""`kinemask render`: effects on what a track job has found."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import OK, command, say
from kinemask.cli.options import AsJson, Debug, Overwrite, check_target, color_of
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
from kinemask.cli.track.options import Grow, Intensity, Region, RegionChoice
from kinemask.cli.track.request import PRIVACY_EFFECTS, PRIVACY_GROWTH, Growth, growth_of

if TYPE_CHECKING:
    from kinemask.config import Effect
    from kinemask.stored import Job

_DRAW, _WRITE = "What to draw, and on what", "How it is written"
_ENDINGS = (".mp4", ".m4v")


class RenderEffect(StrEnum):
    """Effects by name; the same as `kinemask.effects.PLANAR_EFFECT_NAMES`, slow to import."""

    blur = "blur"
    pixelate = "pixelate"
    solid = "solid"
    outline = "outline"
    dim = "dim"
    overlay = "overlay"
    cutout = "cutout"
    desaturate = "desaturate"


Effects = Annotated[
    list[RenderEffect],
    typer.Option(
        "--effect",
        "-e",
        metavar="NAME",
        help="blur, pixelate, solid, outline, overlay; on everything else: dim, cutout, "
        "desaturate. May be repeated.",
        show_default=False,
        rich_help_panel=_DRAW,
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        metavar="RRGGBB",
        help="For solid, outline, overlay (default: one for each object) and cutout (black).",
        rich_help_panel=_DRAW,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Only people of this name, and those nobody knows; may be repeated.",
        rich_help_panel=_DRAW,
    ),
]
Except = Annotated[
    list[str] | None,
    typer.Option(
        "--except",
        metavar="NAME",
        help="Not people of this name, once it is known who they are; may be repeated.",
        rich_help_panel=_DRAW,
    ),
]
Feather = Annotated[
    int,
    typer.Option(
        metavar="PIXELS",
        min=0,
        max=1000,
        help="Fade out over so many pixels.",
        rich_help_panel=_DRAW,
    ),
]
Labels = Annotated[
    bool,
    typer.Option("--labels", help="Write names, labels and ids.", rich_help_panel=_DRAW),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT.mp4", show_default=False, rich_help_panel=_WRITE),
]
Audit = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.json",
        help="Fetch the record of what was rendered from what, and how, too.",
        rich_help_panel=_WRITE,
    ),
]
Crf = Annotated[
    int,
    typer.Option(
        metavar="1..51",
        min=0,
        max=51,
        help="x264's quality; lower is better. Default: 20.",
        show_default=False,
        rich_help_panel=_WRITE,
    ),
]
MaxSide = Annotated[
    int,
    typer.Option(
        metavar="PIXELS",
        min=0,
        max=65535,
        help="Make the picture smaller until no side is longer.",
        show_default=False,
        rich_help_panel=_WRITE,
    ),
]
NoAudio = Annotated[
    bool, typer.Option("--no-audio", help="Leave the sound out.", rich_help_panel=_WRITE)
]
AddToLibrary = Annotated[
    bool,
    typer.Option("--add-to-library", help="Keep it as a video too.", rich_help_panel=_WRITE),
]


@command
def render(
    job: TrackJobId,
    output: Output,
    effect: Effects,
    session: FromSession = False,
    intensity: Intensity = None,
    color: Color = None,
    grow: Grow = None,
    region: Region = RegionChoice.mask,
    feather: Feather = 0,
    labels: Labels = False,
    object_: ObjectIds = None,
    text: Prompts = None,
    only: Only = None,
    except_: Except = None,
    start: FirstFrame = None,
    end: EndFrame = None,
    crf: Crf = 0,
    max_side: MaxSide = 0,
    no_audio: NoAudio = False,
    add_to_library: AddToLibrary = False,
    audit: Audit = None,
    overwrite: Overwrite = False,
    progress: Progress = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw effects on what a track job has found, as often as you like: no model runs.

    [bold]kinemask render JOB --effect blur --except Ada -o safe.mp4[/bold]

    Timing and sound are kept. Interrupted, the same command goes on where it stopped, within a
    day.
    """
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.server import library
    from kinemask.cli.stored.waiting import made
    from kinemask.stored import RenderOptions, RenderRule

    check_target(output, _ENDINGS, overwrite, [])
    if audit is not None:
        check_target(audit, (".json",), overwrite, [])
    last = last_frame(start, end)
    names, growth = [choice.value for choice in effect], growth_of(grow)
    rule = RenderRule(
        effects=[_effect(name, intensity, color_of(color), growth, region) for name in names],
        object_ids=object_ or (),
        prompts=text or (),
        only_names=only or (),
        except_names=except_ or (),
        feather_px=feather,
        show_labels=labels,
    )
    options = RenderOptions(
        first_frame=start,
        last_frame=last,
        audio=not no_audio,
        crf=crf,
        max_side_px=max_side,
        add_to_library=add_to_library,
    )
    with library(server, debug=debug, needs=("worker",)) as client:
        queued = client.jobs.render(job, [rule], options, resume=not session, from_session=session)
        done = made(client, queued, output, progress)
        if audit is not None:
            client.jobs.download(done.job_id, audit, output_id="audit")
            say(f"wrote {audit}")
    if as_json:
        print_json(_json(done))
    return OK


def _effect(
    name: str,
    intensity: float | None,
    color: tuple[int, int, int] | None,
    growth: Growth | None,
    region: RegionChoice,
) -> Effect:
    """What hides something reaches a little beyond it unless told."""
    from kinemask.config import Effect

    usual = Growth(fraction=PRIVACY_GROWTH if name in PRIVACY_EFFECTS else 0.0)
    grow = growth or usual
    return Effect(name, intensity, color, round(grow.px), grow.fraction, region.value)


def _json(job: Job) -> dict[str, object]:
    return {"job_id": job.job_id, "files": [vars(file) for file in job.files]}
