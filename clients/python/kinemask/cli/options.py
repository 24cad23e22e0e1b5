"""Options that several commands share, and how their values are written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kinemask.cli.failures import usage_error

_FIND = "What to find"
_WHERE = "Server and output"

Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        "-t",
        metavar="WORDS",
        help="Find these, such as [b]face[/b]; may be repeated. One word may find many objects.",
        rich_help_panel=_FIND,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        min=0,
        max=1,
        help="Least score of what --text finds. Default: the detector's own.",
        rich_help_panel=_FIND,
    ),
]
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty",
        help="Exit 0, not 3, if --text finds nothing at all.",
        rich_help_panel=_FIND,
    ),
]
DetectorModel = Annotated[
    str,
    typer.Option(
        "--model-detector",
        metavar="NAME",
        help="Model for --text; see kinemask engines.",
        rich_help_panel=_FIND,
    ),
]
SegmenterModel = Annotated[
    str,
    typer.Option(
        "--model-segmenter", metavar="NAME", help="Model for masks.", rich_help_panel=_FIND
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="KINEMASK_SERVER",
        help="A running gateway. Without it the services are started for this run.",
        rich_help_panel=_WHERE,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=_WHERE),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", "-y", help="Replace outputs that exist.", rich_help_panel=_WHERE),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks and the services' logs.", rich_help_panel=_WHERE),
]


@dataclass(frozen=True)
class Pointed:
    """One object shown by hand, in pixels of the upright frame."""

    name: str
    """What it is called in results: `box 1`, `point 2`."""
    written: str
    """As it stood on the line, for complaints."""
    box_xyxy: tuple[float, float, float, float] | None = None
    point_xy: tuple[float, float] | None = None
    frame: int | None = None
    """The frame it is about, from 0. None: the first that is worked on."""

    def check_inside(self, width: int, height: int) -> None:
        """A box may reach over the edge, but not be wholly outside.

        Raises:
            CommandError: it is outside; the message names the frame's size.
        """
        x_min, y_min, x_max, y_max = self.box_xyxy or (*self.point_xy, *self.point_xy)  # type: ignore[misc]  # one of them is set
        beyond = x_min >= width or y_min >= height
        if beyond or x_max < 0 or y_max < 0 or (self.box_xyxy and (x_max <= 0 or y_max <= 0)):
            what = "a box that touches" if self.box_xyxy else "a point inside"
            raise usage_error(f"{self.written}: expected {what} the frame of {width}x{height}")


def pointed(boxes: list[str] | None, points: list[str] | None) -> tuple[Pointed, ...]:
    """The objects of every --box and --point, in that order.

    Raises:
        CommandError: one is not of the form that --help shows.
    """
    found = [_box(number, text) for number, text in enumerate(boxes or (), 1)]
    found += [_point(number, text) for number, text in enumerate(points or (), 1)]
    return tuple(found)


def _box(number: int, text: str) -> Pointed:
    written = f"--box {text}"
    numbers, frame = _numbers(text, 4, written, "X1,Y1,X2,Y2 or X1,Y1,X2,Y2@FRAME")
    x_min, y_min, x_max, y_max = numbers
    if x_max <= x_min or y_max <= y_min:
        raise usage_error(f"{written}: expected X1 < X2 and Y1 < Y2 (left, top, right, bottom)")
    return Pointed(f"box {number}", written, box_xyxy=(x_min, y_min, x_max, y_max), frame=frame)


def _point(number: int, text: str) -> Pointed:
    written = f"--point {text}"
    (x, y), frame = _numbers(text, 2, written, "X,Y or X,Y@FRAME")
    return Pointed(f"point {number}", written, point_xy=(x, y), frame=frame)


def _numbers(text: str, count: int, written: str, form: str) -> tuple[list[float], int | None]:
    coordinates, at, frame = text.partition("@")
    try:
        numbers = [float(part) for part in coordinates.split(",")]
    except ValueError:
        numbers = []
    frame_is_good = frame.isascii() and frame.isdigit() if at else True
    if len(numbers) != count or not all(map(math.isfinite, numbers)) or not frame_is_good:
        raise usage_error(f"{written}: expected {form}, in pixels")
    return numbers, int(frame) if at else None


def color_of(text: str | None) -> tuple[int, int, int] | None:
    """`RRGGBB`, with or without `#`, as red, green, blue.

    Raises:
        CommandError: it is something else.
    """
    if text is None:
        return None
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise usage_error(f"--color {text}: expected RRGGBB, such as ff8800")
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def check_target(
    path: Path, endings: tuple[str, ...], overwrite: bool, sources: list[Path]
) -> None:
    """Whether a file may be written there, before any work is done for it.

    Raises:
        CommandError: its ending or folder is wrong, it is the source, or it exists.
    """
    if path.suffix.lower() not in endings:
        raise usage_error(f"{path}: expected a name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise usage_error(f"{path}: there is no folder {path.parent}", f"mkdir -p {path.parent}")
    if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
        raise usage_error(f"{path}: it is the input; choose another name")
    if path.is_dir():
        raise usage_error(f"{path}: it is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise usage_error(f"{path} exists already", "another name, or --overwrite to replace it")
