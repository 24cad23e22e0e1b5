"""Options that the commands on annotation sessions share."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from kinemask.cli.failures import usage_error

SessionId = Annotated[
    str,
    typer.Argument(
        metavar="SESSION", help="Its id, as kinemask annotate list shows it.", show_default=False
    ),
]
Frame = Annotated[int, typer.Argument(metavar="FRAME", min=0, help="From 0.", show_default=False)]
ObjectId = Annotated[
    int,
    typer.Option(
        "--object",
        metavar="ID",
        min=0,
        help="Correct this object. Default: a new one.",
        show_default=False,
    ),
]
Label = Annotated[str, typer.Option(help="What to call a new object.")]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Instead of what was said of the object on this frame before."),
]


def numbers(text: str, count: int, form: str) -> tuple[float, ...]:
    """Pixels, separated by commas.

    Raises:
        CommandError: it is something else.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise usage_error(f"{text}: expected {form}, in pixels of the frame")
    return found


def points(texts: list[str] | None) -> list[tuple[float, float]]:
    """Every X,Y; raises CommandError."""
    found = [numbers(text, 2, "X,Y") for text in texts or ()]
    return [(x, y) for x, y in found]
