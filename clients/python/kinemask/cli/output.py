"""Where results go: tables and JSON to standard output, all else to standard error."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table


def print_json(value: Mapping[str, object]) -> None:
    """One object on one line."""
    print(json.dumps(value), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; columns whose name ends in `#` hold numbers and lean right."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        side: JustifyMethod = "right" if column.endswith("#") else "left"
        made.add_column(column.removesuffix("#"), justify=side)
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def print_tables(*parts: object) -> None:
    """Tables and lines of text on standard output, with a blank line between them."""
    from rich.console import Console

    # A pipe has no width: rows are not to be broken for one.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` when the block ends well, and not at all otherwise."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
