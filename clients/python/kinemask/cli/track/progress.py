"""How far a run is: a bar on a terminal, a line now and then elsewhere if asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kinemask.cli.failures import say

_LINE_EVERY_S = 5.0

Advance = Callable[[], None]


@contextmanager
def progress(total: int | None, wanted: bool | None) -> Iterator[Advance]:
    """Call what this gives once a frame.

    Args:
        total: frames to come; None if nobody knows.
        wanted: None for "on a terminal".
    """
    is_terminal = sys.stderr.isatty()
    if not (is_terminal if wanted is None else wanted):
        yield lambda: None
    elif not is_terminal:
        yield _lines(total)
    else:
        with _bar(total) as advance:
            yield advance


@contextmanager
def _bar(total: int | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Task as Row

    class Rate(TextColumn):
        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Row):  # type: ignore[no-untyped-def]  # as its parent's
            self.text_format = f"{task.speed or 0:.1f} frames/s"
            return super().render(task)

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("", total=total)
        yield lambda: bar.advance(row)


def _lines(total: int | None) -> Advance:
    begun_s = said_s = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, said_s
        done += 1
        now_s = time.monotonic()
        if now_s - said_s >= _LINE_EVERY_S or done == total:
            said_s = now_s
            of = "" if total is None else f" of {total}"
            say(f"{done}{of} frames, {done / max(now_s - begun_s, 1e-6):.1f} frames/s")

    return advance
