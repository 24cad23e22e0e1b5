"""One log of many processes: each line says whose it is, each service has its colour."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

# Bright enough on black, dark enough on white; red is left to errors.
_COLORS = {
    "gateway": 36,
    "detector": 33,
    "segmenter": 32,
    "tracker": 35,
    "faces": 34,
    "captioner": 96,
}
_OTHER_COLOR = 90
_BOLD = 1


@dataclass(frozen=True)
class LogLine:
    """One line that a process wrote, or that the stack says about it."""

    service: str
    """The service's name."""
    source: str
    """The replica's: `segmenter`, or `segmenter.2` where there are several."""
    text: str
    """Without its line end."""
    is_notice: bool = False
    """True if the stack says it: started, ended, starts again."""


LogSink = Callable[[LogLine], None]
"""Takes lines; called from several threads at once."""


class LogPrinter:
    """A sink that prints lines behind their source's name."""

    def __init__(self, out: TextIO, sources: Sequence[str] = (), *, color: bool | None = None):
        """`sources`: the names to come, for their width; `color`: None for "on a terminal"."""
        self._out = out
        self._width = max((len(source) for source in sources), default=0)
        self._color = wants_color(out) if color is None else color
        self._lock = threading.Lock()

    def __call__(self, line: LogLine) -> None:
        prefix = self._painted(f"{line.source:<{self._width}} |", _code(line.service))
        text = self._painted(line.text, _BOLD) if line.is_notice else line.text
        # Who reads the log may go (`kinemask up | head`); the services go on.
        with self._lock, suppress(OSError):
            self._out.write(f"{prefix} {text}\n")
            self._out.flush()

    def _painted(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def wants_color(out: TextIO) -> bool:
    """True on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR")


def _code(service: str) -> int:
    return _COLORS.get(service, _OTHER_COLOR)
