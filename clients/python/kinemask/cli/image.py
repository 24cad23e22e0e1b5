"""`kinemask image`: everything about one picture, or about a frame of a stored video."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.failures import FAILED, OK, command, say, usage_error
from kinemask.cli.options import AsJson, Debug, Overwrite, Server, check_target

if TYPE_CHECKING:
    from kinemask.analysis import Analysis, AnalyzeOptions, StoredPicture
    from kinemask.client import Client
    from kinemask.types import RgbImage

_WHAT = "What to find out"
# A large model on a processor takes its time, and loading it is part of the first call.
_TIMEOUT_S = 900.0

Picture = Annotated[
    Path | None, typer.Argument(metavar="[IMAGE]", help="A picture.", show_default=False)
]
Words = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        "-t",
        metavar="WORDS",
        help="Things of these words, each with its mask; may be repeated.",
        rich_help_panel=_WHAT,
    ),
]
Boxes = Annotated[
    bool,
    typer.Option("--boxes-only", help="Boxes for --text, no masks.", rich_help_panel=_WHAT),
]
Label = Annotated[
    str,
    typer.Option(
        "--object",
        metavar="LABEL",
        help="The mask of the best thing of this label.",
        rich_help_panel=_WHAT,
    ),
]
Everything = Annotated[
    bool, typer.Option("--everything", help="Masks of everything.", rich_help_panel=_WHAT)
]
Faces = Annotated[
    bool, typer.Option("--faces", help="Faces, without names.", rich_help_panel=_WHAT)
]
Gallery = Annotated[
    str,
    typer.Option(metavar="ID", help="Faces, with names of this gallery.", rich_help_panel=_WHAT),
]
Captioned = Annotated[bool, typer.Option("--caption", help="Words.", rich_help_panel=_WHAT)]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="OUT.jpg", help="The picture, the answers drawn in."),
]
Video = Annotated[
    str, typer.Option(metavar="VIDEO", help="A frame of this stored video: any, or --frame.")
]
Frame = Annotated[int | None, typer.Option(metavar="N", min=0, help="That frame, from 0.")]


@command
def image(
    picture: Picture = None,
    text: Words = None,
    boxes_only: Boxes = False,
    label: Label = "",
    everything: Everything = False,
    faces: Faces = False,
    gallery: Gallery = "",
    caption: Captioned = False,
    video: Video = "",
    frame: Frame = None,
    output: Output = None,
    overwrite: Overwrite = False,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Find out everything about one picture.

    kinemask image street.jpg --text person --faces --caption -o seen.jpg

    Exit codes: 0 done, 1 failed, in one part at least, 2 cannot be done as asked.
    """
    from kinemask.analysis import AnalyzeOptions
    from kinemask.config import CaptionOptions, DetectStage, EverythingOptions

    words = DetectStage(text) if text else None
    options = AnalyzeOptions(
        detect=words if boxes_only else None,
        instances=None if boxes_only else words,
        everything=EverythingOptions() if everything else None,
        object_label=label,
        faces=faces,
        gallery_id=gallery,
        caption=CaptionOptions() if caption else None,
        annotate=output is not None,
    )
    if not _needs(options):
        raise usage_error("what is to be found out?", "--text person, --faces or --caption")
    if (picture is None) == (not video):
        raise usage_error("expected a picture or --video, and not both")
    if frame is not None and not video:
        raise usage_error("--frame: expected --video beside it")
    if output is not None:
        check_target(output, (".jpg", ".jpeg"), overwrite, [picture] if picture else [])
    found = _asked(picture, video, frame, options, server, debug)
    if output is not None:
        _write(output, found)
    _print(found, str(picture) if picture else video, output, as_json)
    return FAILED if found.errors else OK


def _needs(options: AnalyzeOptions) -> list[str]:
    """The services that the parts need."""
    words = options.detect is not None
    masks = bool(options.instances or options.object_label)
    parts = {
        "detector": words or masks,
        "segmenter": masks or options.everything is not None,
        "faces": options.faces or bool(options.gallery_id),
        "captioner": options.caption is not None,
    }
    return [service for service, needed in parts.items() if needed]


def _asked(
    path: Path | None,
    video: str,
    frame: int | None,
    options: AnalyzeOptions,
    server: str | None,
    debug: bool,
) -> Analysis:
    from kinemask.analysis import StoredPicture
    from kinemask.cli.pictures import read_picture
    from kinemask.cli.server import gateway
    from kinemask.cli.stored.server import library

    source: RgbImage | StoredPicture
    started: AbstractContextManager[Client]
    if path is not None:
        source = read_picture(path)
        started = gateway(server, _needs(options), debug=debug)
    else:
        source = StoredPicture(video, index=frame)
        started = library(server, debug=debug, needs=_needs(options))
    with started as client:
        return client.analyze(source, options, timeout_s=_TIMEOUT_S)


def _write(output: Path, found: Analysis) -> None:
    from kinemask.cli.output import replacing

    with replacing(output) as file:
        file.write(found.annotated)


def _print(found: Analysis, source: str, output: Path | None, as_json: bool) -> None:
    from kinemask.cli.output import print_json, print_tables, table

    for part, error in found.errors.items():
        say(f"{part}: {error.message}")
    rows = _rows(found)
    if as_json:
        print_json(
            {
                "source": source,
                "width": found.width,
                "height": found.height,
                "frame": found.frame_index,
                "caption": None if found.caption is None else found.caption.text,
                "found": [_json(*row) for row in rows],
                "errors": {part: error.message for part, error in found.errors.items()},
                "output": None if output is None else str(output),
            }
        )
        return
    parts: list[object] = [] if found.caption is None else [found.caption.text]
    if rows:
        shown = [
            (
                part,
                name or "-",
                f"{score:.2f}",
                " ".join(f"{edge:.0f}" for edge in box),
                area or "-",
            )
            for part, name, score, box, area in rows
        ]
        parts.append(table(("Part", "What", "Score#", "Box (x1 y1 x2 y2)", "Pixels#"), shown))
    print_tables(*(parts or ["nothing found"]))


Row = tuple[str, str, float, tuple[float, ...], int]
"""Part, what it is, score, box, pixels of its mask (0 without one)."""


def _rows(found: Analysis) -> list[Row]:
    rows: list[Row] = [("detect", d.label, d.score, d.box, 0) for d in found.detections or ()]
    things = [("instances", one) for one in found.instances]
    things += [("object", found.object)] if found.object is not None else []
    rows += [
        (part, one.detection.label, one.detection.score, one.detection.box, one.mask.area_px)
        for part, one in things
    ]
    rows += [("everything", "", m.score, m.box or (), m.area_px) for m in found.everything or ()]
    rows += [("faces", one.name or "face", one.face.score, one.face.box, 0) for one in found.faces]
    return rows


def _json(
    part: str, name: str, score: float, box: tuple[float, ...], area_px: int
) -> dict[str, object]:
    return {
        "part": part,
        "label": name,
        "score": round(score, 4),
        "box_xyxy": [round(edge, 2) for edge in box],
        "area_px": area_px or None,
    }
