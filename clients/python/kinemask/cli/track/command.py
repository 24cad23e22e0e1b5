"""The line of `kinemask track`: its options, and what they come to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kinemask.cli.failures import NOTHING_FOUND, OK, command, say
from kinemask.cli.options import (
    AllowEmpty,
    AsJson,
    Debug,
    DetectorModel,
    Overwrite,
    SegmenterModel,
    Server,
    Texts,
    Threshold,
    color_of,
    pointed,
)
from kinemask.cli.track.request import (
    DEFAULT_EFFECT,
    Models,
    TrackRequest,
    effect_specs,
    growth_of,
)

_FIND, _DRAW, _WRITE = "What to find", "What to draw", "Server and output"


class EffectChoice(StrEnum):
    """Effects by name; the same as `kinemask.effects.EFFECT_NAMES`, which is slow to import."""

    blur = "blur"
    pixelate = "pixelate"
    solid = "solid"
    outline = "outline"
    dim = "dim"
    overlay = "overlay"


class RegionChoice(StrEnum):
    """Which pixels of an object."""

    mask = "mask"
    box = "box"


Video = Annotated[
    Path, typer.Argument(metavar="VIDEO", help="The video to work on.", show_default=False)
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X1,Y1,X2,Y2[@FRAME]",
        help="An object by a box around it, in pixels; may be repeated.",
        rich_help_panel=_FIND,
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="X,Y[@FRAME]",
        help="An object by a point on it; may be repeated.",
        rich_help_panel=_FIND,
    ),
]
Every = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=100000,
        help="Look for --text on every N-th frame; 0: the gateway's own (5).",
        rich_help_panel=_FIND,
    ),
]
TrackerName = Annotated[
    str,
    typer.Option(
        "--model-tracker",
        metavar="NAME",
        help="Algorithm that keeps identities.",
        rich_help_panel=_FIND,
    ),
]
Effects = Annotated[
    list[EffectChoice] | None,
    typer.Option(
        "--effect",
        "-e",
        help="Draw this; may be repeated. Default: overlay.",
        show_default=False,
        rich_help_panel=_DRAW,
    ),
]
Intensity = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="How strong, 0 to 1. Default: the effect's own.", rich_help_panel=_DRAW
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        metavar="RRGGBB",
        help="For solid, outline and overlay. Default: one for each object.",
        rich_help_panel=_DRAW,
    ),
]
Grow = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|PIXELSpx",
        help="Reach beyond the object, by a share of its size (0.1) or by pixels (12px). "
        "Default: 0.1 for blur, pixelate and solid, so that edges are hidden too; else 0.",
        rich_help_panel=_DRAW,
    ),
]
Region = Annotated[
    RegionChoice, typer.Option(help="The object's mask, or its whole box.", rich_help_panel=_DRAW)
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.mp4",
        help="The video to write. Default: VIDEO-EFFECT.mp4 in this folder, unless only --masks "
        "is asked for.",
        rich_help_panel=_WRITE,
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.json",
        help="Write the masks too, as COCO with track ids.",
        rich_help_panel=_WRITE,
    ),
]
Start = Annotated[int, typer.Option(min=0, help="First frame, from 0.", rich_help_panel=_WRITE)]
End = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frame to stop before. A part of a video is written without sound.",
        rich_help_panel=_WRITE,
    ),
]
NoAudio = Annotated[
    bool, typer.Option("--no-audio", help="Leave the sound out.", rich_help_panel=_WRITE)
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress. Default: on a terminal.",
        rich_help_panel=_WRITE,
    ),
]


@command
def track(
    video: Video,
    text: Texts = None,
    box: Boxes = None,
    point: Points = None,
    every: Every = 0,
    threshold: Threshold = None,
    allow_empty: AllowEmpty = False,
    model_detector: DetectorModel = "auto",
    model_segmenter: SegmenterModel = "auto",
    model_tracker: TrackerName = "auto",
    effect: Effects = None,
    intensity: Intensity = None,
    color: Color = None,
    grow: Grow = None,
    region: Region = RegionChoice.mask,
    output: Output = None,
    masks: Masks = None,
    start: Start = 0,
    end: End = None,
    no_audio: NoAudio = False,
    overwrite: Overwrite = False,
    server: Server = None,
    progress: ShowProgress = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Follow objects through a video and hide or mark them.

    [bold]kinemask track clip.mp4 --text face --effect blur -o out.mp4[/bold]

    [bold]kinemask track clip.mp4 --box 40,30,200,260 --point 320,90@25 --effect outline[/bold]

    Effects are drawn on the original frames; timing and sound are kept.

    Exit code 0: done. 1: failed. 2: cannot be done as asked. 3: done, but --text found nothing
    in the whole video. 130: interrupted. Files are written only with 0 and 3, and then whole.
    """
    names = [choice.value for choice in effect or ()]
    writes_video = output is not None or masks is None or bool(names)
    drawn = (names or [DEFAULT_EFFECT]) if writes_video else []
    request = TrackRequest(
        video=video,
        texts=tuple(text or ()),
        objects=pointed(box, point),
        effects=effect_specs(drawn, intensity, color_of(color), growth_of(grow), region.value),
        output=(output or _default_output(video, drawn)) if writes_video else None,
        masks=masks,
        start=start,
        end=end,
        every=every,
        threshold=threshold,
        models=Models(model_detector, model_segmenter, model_tracker),
        audio=not no_audio,
    )
    request.check(overwrite)
    return _run(request, server, progress, allow_empty, as_json, debug)


def _run(
    request: TrackRequest,
    server: str | None,
    progress: bool | None,
    allow_empty: bool,
    as_json: bool,
    debug: bool,
) -> int:
    from kinemask.cli.output import print_json
    from kinemask.cli.server import gateway
    from kinemask.cli.track.run import TrackRun
    from kinemask.video import VideoReader

    reader = VideoReader(request.video, prefetch_frames=0)  # the feed's thread decodes
    request.check_against(reader.info)
    with gateway(server, request.services, debug=debug) as client:
        report = TrackRun(request, reader).run(client, progress, allow_empty)
    for warning in report.warnings():
        say(f"warning: {warning}")
    if as_json:
        print_json(report.to_json())
    else:
        report.print()
    return NOTHING_FOUND if report.found_nothing and not allow_empty else OK


def _default_output(video: Path, effects: list[str]) -> Path:
    return Path(f"{video.stem}-{'-'.join(effects)}.mp4")
