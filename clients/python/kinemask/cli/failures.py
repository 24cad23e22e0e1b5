"""What a person is told when a command fails: one line, what to do next, and an exit code."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import typer

P = ParamSpec("P")

OK = 0
FAILED = 1
"""Something went wrong while it ran; nothing was written."""
USAGE = 2
"""What was asked for cannot be; nothing was begun."""
NOTHING_FOUND = 3
"""It ran to the end, and the words found nothing in all of it."""
INTERRUPTED = 130

_BUG_HINT = "this should not happen; --debug shows where it did"


class CommandError(Exception):
    """A failure in words for a person; carries what to do next and the exit code."""

    def __init__(self, message: str, *, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def usage_error(message: str, hint: str = "") -> CommandError:
    """What was asked for cannot be."""
    return CommandError(message, hint=hint, code=USAGE)


def command(work: Callable[P, int]) -> Callable[P, None]:
    """A command of the line: `work` gives the exit code, and its errors become one line each.

    With `debug=True` among the arguments errors keep their traceback. SIGTERM ends it as Ctrl-C.
    """

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _terminable():
                code = work(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted; nothing is left half-written")
            code = INTERRUPTED
        except Exception as error:  # the edge of the program: every failure is told here
            if kwargs.get("debug"):
                raise
            told = explained(error)
            say(f"error: {told}")
            if told.hint:
                say(f"  try: {told.hint}")
            code = told.code
        raise typer.Exit(code)

    return run


def say(text: str) -> None:
    """A line on standard error, in this program's name."""
    print(f"kinemask: {text}", file=sys.stderr, flush=True)


def explained(error: Exception) -> CommandError:
    """Any failure as a CommandError."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return CommandError(f"{where}{error.strerror or error}")
    return _of_ours(error) or CommandError(f"{type(error).__name__}: {error}", hint=_BUG_HINT)


def _of_ours(error: Exception) -> CommandError | None:
    """Errors of the SDK; imported only where something of theirs can have been raised."""
    from kinemask.cli.up import StackError
    from kinemask.errors import KinemaskError
    from kinemask.images import ImageError
    from kinemask.models import ModelError
    from kinemask.video import VideoError

    if isinstance(error, KinemaskError):
        return _answered(error)
    if isinstance(error, StackError):
        return CommandError(f"the services could not be started: {error}")
    if isinstance(error, (ImageError, ModelError, VideoError)):
        return CommandError(str(error))
    return None


def _answered(error: Exception) -> CommandError:
    from kinemask import errors

    assert isinstance(error, errors.KinemaskError)
    parts = [f"{v.field}: {v.description}" for v in error.violations]
    # The message of a single violation says the same again.
    message = error.message if len(parts) < 2 else f"{error.message} ({'; '.join(parts)})"
    asked_wrongly = isinstance(error, (errors.InvalidArgumentError, errors.NotFoundError))
    hint = ""
    if isinstance(error, errors.UnavailableError):
        hint = "kinemask engines shows which services are there"
    if isinstance(error, errors.InternalError):
        hint = f"the services' logs say more under request {error.request_id or '(none)'}"
    return CommandError(message, hint=hint, code=USAGE if asked_wrongly else FAILED)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, so that it cleans up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
