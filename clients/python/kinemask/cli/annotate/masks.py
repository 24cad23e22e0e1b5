"""Masks of a session: carried over its video, and looked at."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinemask.cli.annotate.options import Frame, SessionId
from kinemask.cli.failures import INTERRUPTED, OK, command, say
from kinemask.cli.options import AsJson, Debug, Overwrite, check_target
from kinemask.cli.stored.options import (
    EndFrame,
    FirstFrame,
    ObjectIds,
    Progress,
    Server,
    last_frame,
)

if TYPE_CHECKING:
    from kinemask.annotate import PropagationProgress
    from kinemask.annotate.types import DirectionName

_LINE_EVERY_S = 5.0


class Direction(StrEnum):
    """Which way masks are carried."""

    both = "both"
    forwards = "forwards"
    backwards = "backwards"


@command
def propagate(
    session: SessionId,
    start: FirstFrame = None,
    end: EndFrame = None,
    direction: Annotated[Direction, typer.Option(help="From the prompted frames.")] = (
        Direction.both
    ),
    object_: ObjectIds = None,
    only_stale: Annotated[
        bool,
        typer.Option("--only-stale", help="Pass over frames that need no new masks: go on."),
    ] = False,
    progress: Progress = None,
    server: Server = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Carry masks from the prompted frames over the video, or over --start to --end.

    Frames outside of the range keep their masks. Ctrl-C stops it; what is done stays done, and
    the same command with --only-stale goes on.
    """
    from kinemask.cli.output import print_json
    from kinemask.cli.stored.server import library

    way: DirectionName = direction.value
    with library(server, debug=debug, needs=("segmenter",)) as client:
        try:
            with _bar(progress) as advance:
                done = client.annotate.propagate(
                    session,
                    first_frame=start,
                    last_frame=last_frame(start, end),
                    direction=way,
                    object_ids=object_ or (),
                    only_stale=only_stale,
                    on_progress=advance,
                )
        except KeyboardInterrupt:
            say("stopped; what is done is stored, and --only-stale goes on from there")
            return INTERRUPTED
    if as_json:
        print_json({"done_frames": done.done_frames, "revision": done.revision})
    else:
        say(f"carried masks over {done.done_frames} frames")
    return OK


@command
def overlay(
    session: SessionId,
    frame: Frame,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.jpg", show_default=False)],
    object_: ObjectIds = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Points and boxes too.")] = False,
    max_side: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", min=0, max=65535, help="Make it smaller.", show_default=False
        ),
    ] = 0,
    overwrite: Overwrite = False,
    server: Server = None,
    debug: Debug = False,
) -> int:
    """A frame with its masks drawn in, as a picture."""
    from kinemask.cli.output import replacing
    from kinemask.cli.stored.server import library

    check_target(output, (".jpg", ".jpeg"), overwrite, [])
    with library(server, debug=debug) as client:
        drawn = client.annotate.overlay(
            session,
            frame,
            object_ids=object_ or (),
            show_prompts=prompts,
            max_side_px=max_side,
        )
    with replacing(output) as file:
        file.write(drawn.jpeg)
    say(f"wrote frame {frame} to {output}")
    return OK


@contextmanager
def _bar(wanted: bool | None) -> Iterator[Callable[[PropagationProgress], None]]:
    """Call what this gives with how far it is."""
    terminal = sys.stderr.isatty()
    if not (terminal if wanted is None else wanted):
        yield lambda progress: None
    elif not terminal:
        yield _lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (BarColumn(), TextColumn("{task.description}"))
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            row = bars.add_task("", total=1.0)
            yield lambda progress: bars.update(
                row, completed=progress.fraction, description=_described(progress)
            )


def _lines() -> Callable[[PropagationProgress], None]:
    said_s = 0.0

    def advance(progress: PropagationProgress) -> None:
        nonlocal said_s
        if progress.done or time.monotonic() - said_s >= _LINE_EVERY_S:
            said_s = time.monotonic()
            say(_described(progress))

    return advance


def _described(progress: PropagationProgress) -> str:
    parts = [f"{progress.fraction:.0%}", f"{progress.done_frames}/{progress.total_frames} frames"]
    if progress.frames_per_s:
        parts.append(f"{progress.frames_per_s:.1f} frames/s")
    if progress.left_s is not None and not progress.done:
        parts.append(f"{progress.left_s:.0f} s left")
    return ", ".join(parts)
