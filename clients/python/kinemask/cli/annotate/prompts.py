"""Prompts on frames: clicks, boxes, masks; and how they are taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.annotate.options import (
    Frame,
    Label,
    ObjectId,
    Replace,
    SessionId,
    numbers,
    points,
)
from kinemask.cli.failures import OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug
from kinemask.cli.stored.options import Server

if TYPE_CHECKING:
    from kinemask.annotate import Prompted
    from kinemask.types import Prompt

_WHITE = 128


@command
def click(
    session: SessionId,
    frame: Frame,
    at: Annotated[
        list[str] | None,
        typer.Argument(metavar="X,Y...", help="Points on the thing.", show_default=False),
    ] = None,
    not_: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="X,Y", help="A point beside it; may be repeated."),
    ] = None,
    object_: ObjectId = 0,
    label: Label = "",
    replace: Replace = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Click on a thing, or beside it to take something away.

    [bold]kinemask annotate click SESSION 0 320,200 --label ball[/bold]
    [bold]kinemask annotate click SESSION 0 --object 1 --not 300,240[/bold]
    """
    from kinemask.types import Prompt

    on, beside = points(at), points(not_)
    if not on and not beside:
        raise usage_error("where is it?", "kinemask annotate click SESSION FRAME X,Y")
    prompt = Prompt(points=on, negative_points=beside, object_id=object_)
    return _say(session, frame, prompt, label, replace, server, as_json, debug)


@command
def box(
    session: SessionId,
    frame: Frame,
    around: Annotated[str, typer.Argument(metavar="X1,Y1,X2,Y2", show_default=False)],
    object_: ObjectId = 0,
    label: Label = "",
    replace: Replace = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw a box around a thing: left, top, right, bottom."""
    from kinemask.types import Prompt

    x_min, y_min, x_max, y_max = numbers(around, 4, "X1,Y1,X2,Y2")
    prompt = Prompt(box=(x_min, y_min, x_max, y_max), object_id=object_)
    return _say(session, frame, prompt, label, replace, server, as_json, debug)


@command
def mask(
    session: SessionId,
    frame: Frame,
    picture: Annotated[
        Path,
        typer.Argument(metavar="MASK.png", help="White where the thing is; of the frame's size."),
    ],
    object_: ObjectId = 0,
    label: Label = "",
    replace: Replace = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Give a thing's mask by hand; it is taken as it is."""
    from kinemask.cli.pictures import read_picture
    from kinemask.types import Prompt

    pixels = read_picture(picture).max(axis=2) >= _WHITE
    if not pixels.any():
        raise usage_error(f"{picture}: expected some white pixels, found none")
    prompt = Prompt(mask=pixels, object_id=object_)
    return _say(session, frame, prompt, label, replace, server, as_json, debug)


@command
def clear(
    session: SessionId,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Only on this frame. Default: on all.")
    ] = None,
    object_: Annotated[
        int, typer.Option("--object", metavar="ID", min=0, help="Only of this. Default: of all.")
    ] = 0,
    masks: Annotated[bool, typer.Option("--masks", help="Forget the masks there too.")] = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Take back what was said: of one object or all, on one frame or all."""
    from kinemask.cli.stored.server import library

    with library(server, debug=debug) as client:
        count = client.annotate.clear(session, object_id=object_, frame=frame, masks=masks)
    say(f"took {count} prompts back")
    return OK


@command
def remove(
    session: SessionId,
    object_: Annotated[
        list[int] | None,
        typer.Option("--object", metavar="ID", min=1, help="An object with all it has."),
    ] = None,
    prompt: Annotated[
        list[int] | None,
        typer.Option("--prompt", metavar="ID", min=1, help="A single prompt; see show."),
    ] = None,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """Remove objects, or single prompts; both may be repeated."""
    from kinemask.cli.stored.server import library

    if not object_ and not prompt:
        raise usage_error("what is to be removed?", "--object ID, or --prompt ID")
    with library(server, debug=debug, needs=("segmenter",) if prompt else ()) as client:
        if prompt:
            client.annotate.remove_prompts(session, prompt)
            say(f"removed prompts {', '.join(map(str, prompt))}")
        for object_id in object_ or ():
            client.annotate.remove_object(session, object_id)
            say(f"removed object {object_id}")
    return OK


def _say(
    session: str,
    frame: int,
    prompt: Prompt,
    label: str,
    replace: bool,
    server: str | None,
    as_json: bool,
    debug: bool,
) -> int:
    """Prompt, and tell what came of it."""
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.server import library

    with library(server, debug=debug, needs=("segmenter",)) as client:
        made = client.annotate.prompt(session, frame, [prompt], label=label, replace=replace)
    if as_json:
        print_json(_json(frame, made))
        return OK
    (said,) = made.prompts
    found = next(one for one in made.objects if one.object_id == said.prompt.object_id)
    where = f"in {_box(found.box)}" if found.box is not None else "nothing there"
    print(f"object {found.object_id}: {found.area_px} pixels {where}, score {found.score:.2f}")
    return OK


def _box(box: tuple[float, float, float, float]) -> str:
    return ",".join(f"{edge:g}" for edge in box)


def _json(frame: int, made: Prompted) -> dict[str, object]:
    return {
        "frame": frame,
        "prompt_ids": [entry.prompt_id for entry in made.prompts],
        "revision": made.revision,
        "objects": [
            {
                "object_id": one.object_id,
                "box": one.box,
                "area_px": one.area_px,
                "score": one.score,
            }
            for one in made.objects
        ],
    }
