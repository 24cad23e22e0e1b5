"""Every command of `kinemask`, and nothing of what they do."""

from __future__ import annotations

import typer

from kinemask.cli.annotate.app import annotate
from kinemask.cli.caption import caption
from kinemask.cli.detect import detect
from kinemask.cli.faces.commands import faces
from kinemask.cli.image import image
from kinemask.cli.info import engines, version
from kinemask.cli.models import models
from kinemask.cli.segment import segment
from kinemask.cli.stored.export import export
from kinemask.cli.stored.jobs import jobs
from kinemask.cli.stored.render import render
from kinemask.cli.stored.videos import videos
from kinemask.cli.track.command import track
from kinemask.cli.up.command import up

app = typer.Typer(
    name="kinemask",
    help="Name it, click it or box it: Kinemask finds it, follows it and masks it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for _command in (track, detect, segment, caption, image, render, export, up, engines, version):
    app.command()(_command)
for _group, _name in (
    (faces, "faces"),
    (videos, "videos"),
    (annotate, "annotate"),
    (jobs, "jobs"),
    (models, "models"),
):
    app.add_typer(_group, name=_name)
