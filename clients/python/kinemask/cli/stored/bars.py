"""How far a transfer or job is: a bar on a terminal, a line now and then elsewhere if wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinemask.cli.failures import say

if TYPE_CHECKING:
    from kinemask.stored import Job

_LINE_EVERY_S = 5.0
_STEPS = 1000


@contextmanager
def bytes_bar(what: str, wanted: bool | None) -> Iterator[Callable[[int, int], None]]:
    """Call what this gives with bytes done and bytes in all."""
    if not _is_wanted(wanted):
        yield lambda done, total: None
    elif not sys.stderr.isatty():
        yield _byte_lines(what)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            row = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(row, completed=done, total=total)


@contextmanager
def job_bar(wanted: bool | None) -> Iterator[Callable[[Job], None]]:
    """Call what this gives with a job whenever it has changed."""
    if not _is_wanted(wanted):
        yield lambda job: None
    elif not sys.stderr.isatty():
        yield _job_lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            row = bar.add_task("", total=_STEPS)
            yield lambda job: bar.update(
                row, completed=job.progress.fraction * _STEPS, description=described(job)
            )


def described(job: Job) -> str:
    """A job's state in one line."""
    progress = job.progress
    parts: list[str] = [job.state]
    if job.state == "running":
        parts = [progress.phase or job.state]
        if progress.total_frames:
            parts.append(f"{progress.done_frames}/{progress.total_frames} frames")
        if progress.frames_per_s:
            parts.append(f"{progress.frames_per_s:.1f} frames/s")
        if progress.left_s is not None:
            parts.append(f"{progress.left_s:.0f} s left")
    return ", ".join([f"{progress.fraction:.0%}", *parts])


def _is_wanted(wanted: bool | None) -> bool:
    return sys.stderr.isatty() if wanted is None else wanted


def _byte_lines(what: str) -> Callable[[int, int], None]:
    said_s = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= _LINE_EVERY_S or done == total:
            said_s = time.monotonic()
            say(f"{what}: {done} of {total} bytes")

    return advance


def _job_lines() -> Callable[[Job], None]:
    said_s, state = 0.0, ""

    def advance(job: Job) -> None:
        nonlocal said_s, state
        if job.state != state or time.monotonic() - said_s >= _LINE_EVERY_S:
            said_s, state = time.monotonic(), job.state
            say(described(job))

    return advance
