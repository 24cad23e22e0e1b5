"""`kinemask detect`: what is in a picture, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import NOTHING_FOUND, OK, command, say, usage_error
from kinemask.cli.options import (
    AllowEmpty,
    AsJson,
    Debug,
    DetectorModel,
    Overwrite,
    Server,
    Texts,
    Threshold,
)

if TYPE_CHECKING:
    from kinemask.results import Detections
    from kinemask.types import RgbImage

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Draw the boxes: a .jpg or .png, or a folder for several pictures.",
    ),
]


@command
def detect(
    images: Images,
    text: Texts = None,
    threshold: Threshold = None,
    model_detector: DetectorModel = "auto",
    output: Output = None,
    allow_empty: AllowEmpty = False,
    overwrite: Overwrite = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Find things in pictures by words.

    kinemask detect photo.jpg --text face -o found.jpg

    Exit codes: 0 found, 1 failed, 2 cannot be done as asked, 3 nothing found in any picture.
    """
    from kinemask.cli.pictures import picture_targets, read_picture
    from kinemask.cli.server import gateway

    if not text:
        raise usage_error("what is to be found?", "--text face")
    targets = picture_targets(images, output, overwrite)
    found: list[Detections] = []
    pictures = [read_picture(path) for path in images]
    with gateway(server, ("detector",), debug=debug) as client:
        for picture in pictures:
            found.append(
                client.detect(picture, text, score_threshold=threshold, model=model_detector)
            )
    for picture, target, detections in zip(pictures, targets, found, strict=True):
        if target is not None:
            _draw(picture, target, detections)
    _print(images, found, targets, as_json)
    return OK if allow_empty or any(found) else NOTHING_FOUND


def _draw(picture: RgbImage, target: Path, detections: Detections) -> None:
    from kinemask.cli.pictures import write_picture
    from kinemask.effects import EffectObject, make_effect, palette_color

    objects = [
        EffectObject(
            box_xyxy=one.box, color=palette_color(number), label=f"{one.label} {one.score:.2f}"
        )
        for number, one in enumerate(detections, 1)
    ]
    write_picture(target, make_effect("overlay", intensity=0.15).apply(picture, objects))


def _print(
    images: list[Path], found: list[Detections], targets: list[Path | None], as_json: bool
) -> None:
    from kinemask.cli.output import print_json, print_tables, table

    rows = [
        (path, one.label, f"{one.score:.2f}", *(f"{edge:.0f}" for edge in one.box))
        for path, detections in zip(images, found, strict=True)
        for one in detections
    ]
    for path, detections in zip(images, found, strict=True):
        if not detections:
            say(f"{path}: nothing found")
    if as_json:
        print_json({"images": [_json(*one) for one in zip(images, found, targets, strict=True)]})
    elif rows:
        columns = ("Image", "Label", "Score#", "X1#", "Y1#", "X2#", "Y2#")
        print_tables(table(columns, rows))


def _json(path: Path, detections: Detections, target: Path | None) -> dict[str, object]:
    return {
        "image": str(path),
        "width": detections.width,
        "height": detections.height,
        "engine": detections.service.engine,
        "output": None if target is None else str(target),
        "detections": [
            {
                "label": one.label,
                "prompt": one.prompt,
                "score": round(one.score, 4),
                "box_xyxy": [round(edge, 2) for edge in one.box],
            }
            for one in detections
        ],
    }
