"""The options that only `kinemask track` has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_FIND, _DRAW, _WRITE = "What to find", "What to draw", "Server and output"
_WHO = "Whose faces"


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
CaptionEvery = Annotated[
    int,
    typer.Option(
        "--caption-every",
        metavar="N",
        min=0,
        max=100000,
        help="Describe every N-th frame in words. Default: none.",
        rich_help_panel=_FIND,
    ),
]
CaptionerModel = Annotated[
    str,
    typer.Option(
        "--model-captioner",
        metavar="NAME",
        help="Model for --caption-every.",
        rich_help_panel=_FIND,
    ),
]
Every = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=100000,
        help="Look for --text on every N-th frame. Default: on every frame for effects that hide, "
        "else on every fifth.",
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
        metavar="NAME",
        help="blur, pixelate, solid, outline, dim or overlay; may be repeated. Default: overlay.",
        show_default=False,
        rich_help_panel=_DRAW,
    ),
]
Intensity = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="0..1",
        help="How strong. Default: the effect's own.",
        rich_help_panel=_DRAW,
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
    RegionChoice,
    typer.Option(
        metavar="mask|box", help="The object's mask, or its whole box.", rich_help_panel=_DRAW
    ),
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
Start = Annotated[
    int, typer.Option(metavar="FRAME", min=0, help="First frame, from 0.", rich_help_panel=_WRITE)
]
End = Annotated[
    int | None,
    typer.Option(
        metavar="FRAME",
        min=1,
        help="Frame to stop before. A part of a video is written without sound.",
        rich_help_panel=_WRITE,
    ),
]
ExceptNames = Annotated[
    list[str] | None,
    typer.Option(
        "--except",
        metavar="NAME",
        help="Draw on everybody but this person; may be repeated. Whoever is not known for certain "
        "is drawn on. See kinemask faces enrol.",
        rich_help_panel=_WHO,
    ),
]
OnlyNames = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Draw on this person alone, and on faces that are not known for certain; may be "
        "repeated.",
        rich_help_panel=_WHO,
    ),
]
Gallery = Annotated[
    str,
    typer.Option(
        "--gallery",
        metavar="ID",
        envvar="KINEMASK_GALLERY",
        help="The gallery of people for --except and --only.",
        rich_help_panel=_WHO,
    ),
]
FacesModel = Annotated[
    str,
    typer.Option(
        "--model-faces",
        metavar="NAME",
        help="Model that tells faces apart. Default: the gallery's.",
        rich_help_panel=_WHO,
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
