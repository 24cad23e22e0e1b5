"""Options that the commands about faces share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_WHO, _WHERE = "Whose faces", "Server and output"

DEFAULT_GALLERY = "people"

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", show_default=False)]
GalleryId = Annotated[
    str,
    typer.Option(
        "--gallery",
        "-g",
        metavar="ID",
        envvar="KINEMASK_GALLERY",
        help="The gallery of people.",
        rich_help_panel=_WHO,
    ),
]
PersonId = Annotated[
    str,
    typer.Option(
        "--person",
        metavar="ID",
        help="The person by id, where several have one name.",
        rich_help_panel=_WHO,
    ),
]
Similarity = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="-1..1",
        min=-1,
        max=1,
        help="Least similarity of the same person. Default: the model's own.",
        rich_help_panel=_WHO,
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="See kinemask engines.", rich_help_panel=_WHO),
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="KINEMASK_SERVER",
        help="A running gateway. Without it the services are started for this run, on the "
        "galleries of this computer.",
        rich_help_panel=_WHERE,
    ),
]
