"""`kinemask segment`: the masks of things in a picture."""

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
    Pointed,
    SegmenterModel,
    Server,
    Texts,
    Threshold,
    check_target,
    pointed,
)

if TYPE_CHECKING:
    from kinemask.client import Client
    from kinemask.results import Segmentation
    from kinemask.types import ObjectMask, Prompt, RgbImage

Picture = Annotated[Path, typer.Argument(metavar="IMAGE", show_default=False)]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="X1,Y1,X2,Y2", help="A box around a thing; may be repeated."),
]
Points = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="X,Y", help="A point on a thing; may be repeated."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="A .jpg: the picture with its masks drawn in. A .png: black and white, white where "
        "anything was found; --json has each mask by itself.",
    ),
]


@command
def segment(
    image: Picture,
    text: Texts = None,
    box: Boxes = None,
    point: Points = None,
    threshold: Threshold = None,
    model_detector: DetectorModel = "auto",
    model_segmenter: SegmenterModel = "auto",
    output: Output = None,
    allow_empty: AllowEmpty = False,
    overwrite: Overwrite = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Cut things out of a picture, by words, boxes or points.

    kinemask segment photo.jpg --box 40,30,200,260 -o mask.png
    """
    from kinemask.cli.pictures import PICTURE_ENDINGS, read_picture
    from kinemask.cli.server import gateway

    shown = pointed(box, point)
    if not text and not shown:
        raise usage_error("what is to be cut out?", "--text face, or --box X1,Y1,X2,Y2")
    if output is not None:
        check_target(output, PICTURE_ENDINGS, overwrite, [image])
    picture = read_picture(image)
    for one in shown:
        one.check_inside(picture.shape[1], picture.shape[0])
    needs = ("detector", "segmenter") if text else ("segmenter",)
    with gateway(server, needs, debug=debug) as client:
        prompts = [_prompt(one) for one in shown]
        if text:
            prompts += _found(client, picture, text, threshold, model_detector)
        if not prompts:
            say(f"{image}: nothing found, so nothing to cut out")
            return OK if allow_empty else NOTHING_FOUND
        result = client.segment(picture, prompts, model=model_segmenter)
    if output is not None:
        _write(output, picture, result)
    _print(image, result, output, as_json)
    return OK


def _prompt(shown: Pointed) -> Prompt:
    from kinemask.types import Prompt

    if shown.frame is not None:
        raise usage_error(f"{shown.written}: a picture has no frames; leave @{shown.frame} out")
    points = () if shown.point_xy is None else (shown.point_xy,)
    return Prompt(points, box=shown.box_xyxy, label=shown.name)


def _found(
    client: Client, picture: RgbImage, text: list[str], threshold: float | None, model: str
) -> list[Prompt]:
    from kinemask.types import Prompt

    detections = client.detect(picture, text, score_threshold=threshold, model=model)
    return [Prompt(box=one.box, label=one.label) for one in detections]


def _write(output: Path, picture: RgbImage, result: Segmentation) -> None:
    import numpy as np

    from kinemask.cli.pictures import write_picture
    from kinemask.effects import EffectObject, make_effect, palette_color

    if output.suffix.lower() != ".png":
        objects = [
            EffectObject(mask=one.mask, color=palette_color(one.object_id), label=one.label)
            for one in result
            if one.mask is not None
        ]
        write_picture(output, make_effect("overlay").apply(picture, objects))
        return
    inside = np.zeros(picture.shape[:2], np.bool_)
    for one in result:
        if one.mask is not None:
            inside |= one.mask
    white = np.where(inside, np.uint8(255), np.uint8(0))
    write_picture(output, np.repeat(white[:, :, None], 3, axis=2))


def _print(image: Path, result: Segmentation, output: Path | None, as_json: bool) -> None:
    from kinemask.cli.output import print_json, print_tables, table

    if as_json:
        print_json(
            {
                "image": str(image),
                "width": result.width,
                "height": result.height,
                "engine": result.service.engine,
                "output": None if output is None else str(output),
                "objects": [_json(one) for one in result],
            }
        )
        return
    rows = [
        (
            one.object_id,
            one.label or "-",
            f"{one.score:.2f}",
            one.area_px,
            "empty" if one.box is None else " ".join(f"{edge:.0f}" for edge in one.box),
        )
        for one in result
    ]
    columns = ("Object#", "Label", "Score#", "Pixels#", "Box (x1 y1 x2 y2)")
    print_tables(table(columns, rows))


def _json(one: ObjectMask) -> dict[str, object]:
    mask = one.encoded
    return {
        "object_id": one.object_id,
        "label": one.label,
        "score": round(one.score, 4),
        "area_px": one.area_px,
        "box_xyxy": None if one.box is None else [round(edge, 2) for edge in one.box],
        "segmentation": None
        if mask is None
        else {"size": [mask.height, mask.width], "counts": mask.rle.decode("ascii")},
    }
