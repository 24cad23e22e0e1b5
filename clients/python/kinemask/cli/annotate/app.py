"""`kinemask annotate`: click on things in a stored video, and have them followed."""

from __future__ import annotations

import typer

from kinemask.cli.annotate.masks import overlay, propagate
from kinemask.cli.annotate.prompts import box, clear, click, mask, remove
from kinemask.cli.annotate.sessions import close, list_sessions, open_session, show

_HELP = """Click on things in a stored video, correct, and have them followed.

A session is stored as you go: come back to it whenever you like.

[bold]kinemask videos upload clip.mp4[/bold] prints the id of a VIDEO,
[bold]kinemask annotate open VIDEO[/bold] that of a SESSION. Then:

[bold]kinemask annotate click SESSION 0 320,200 --label ball[/bold]
[bold]kinemask annotate overlay SESSION 0 -o look.jpg[/bold]
[bold]kinemask annotate propagate SESSION[/bold]
[bold]kinemask render SESSION --session --effect blur -o safe.mp4[/bold]
"""

annotate = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode="rich")
for _command, _name in (
    (open_session, "open"),
    (list_sessions, "list"),
    (show, "show"),
    (click, "click"),
    (box, "box"),
    (mask, "mask"),
    (overlay, "overlay"),
    (propagate, "propagate"),
    (clear, "clear"),
    (remove, "remove"),
    (close, "close"),
):
    annotate.command(name=_name)(_command)
