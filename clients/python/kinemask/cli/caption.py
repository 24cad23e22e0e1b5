"""`kinemask caption`: words for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import FAILED, OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug, Server

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.config import CaptionOptions
    from kinemask.results import Caption
    from kinemask.types import RgbImage

_HOW = "How to describe"
_AT_ONCE = 8
# A large model on a processor takes its time, and loading it is part of the first call.
_TIMEOUT_S = 900.0

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", show_default=False)]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The captioner's model; see kinemask engines.",
        rich_help_panel=_HOW,
    ),
]
Beams = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, max=16, help="Beams of the search; 1: greedy.", rich_help_panel=_HOW
    ),
]
MaxLength = Annotated[
    int,
    typer.Option(
        metavar="TOKENS",
        min=1,
        max=1024,
        help="Most tokens of a caption.",
        rich_help_panel=_HOW,
    ),
]
MinLength = Annotated[
    int,
    typer.Option(
        metavar="TOKENS",
        min=0,
        max=1024,
        help="Fewest tokens of a caption.",
        rich_help_panel=_HOW,
    ),
]
Text = Annotated[
    str,
    typer.Option(
        "--text",
        "-t",
        metavar="WORDS",
        help="How the caption begins, a question or a task word, for models that take one.",
        rich_help_panel=_HOW,
    ),
]


@command
def caption(
    images: Images,
    text: Text = "",
    beams: Beams = 1,
    max_length: MaxLength = 40,
    min_length: MinLength = 0,
    model: Model = "auto",
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Describe pictures in words.

    kinemask caption photo.jpg --beams 3

    Exit codes: 0 all described, 1 failed, for one picture at least, 2 cannot be done as asked.
    """
    from kinemask.cli.pictures import read_picture
    from kinemask.cli.server import gateway
    from kinemask.config import CaptionOptions

    if min_length > max_length:
        raise usage_error(f"--min-length {min_length}: expected at most --max-length {max_length}")
    options = CaptionOptions(beams, max_length, min_length, text, model)
    pictures = [read_picture(path) for path in images]
    with gateway(server, ("captioner",), debug=debug) as client:
        made = _captions(client, pictures, options)
    _print(images, made, as_json)
    return FAILED if any(one.error for one in made) else OK


def _captions(client: Client, pictures: list[RgbImage], options: CaptionOptions) -> list[Caption]:
    made: list[Caption] = []
    for first in range(0, len(pictures), _AT_ONCE):
        part = pictures[first : first + _AT_ONCE]
        made += client.caption_batch(part, options=options, timeout_s=_TIMEOUT_S)
    return made


def _print(images: list[Path], made: list[Caption], as_json: bool) -> None:
    from kinemask.cli.output import print_json

    pairs = list(zip(images, made, strict=True))
    for path, one in pairs:
        if one.error is not None:
            say(f"{path}: {one.error.message}")
        elif one.truncated:
            say(f"{path}: the caption was cut; a larger --max-length lets it end")
    if as_json:
        print_json({"images": [_json(path, one) for path, one in pairs]})
        return
    described = [(path, one) for path, one in pairs if one.error is None]
    for path, one in described:
        print(one.text if len(pairs) == 1 else f"{path}: {one.text}")


def _json(path: Path, one: Caption) -> dict[str, object]:
    return {
        "image": str(path),
        "caption": one.text,
        "score": None if one.score is None else round(one.score, 4),
        "tokens": one.tokens,
        "truncated": one.truncated,
        "model": one.service.model,
        "engine": one.service.engine,
        "error": None if one.error is None else one.error.message,
    }
