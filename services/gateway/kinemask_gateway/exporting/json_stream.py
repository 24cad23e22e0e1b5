"""JSON written piece by piece: what it holds need not fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

ThingT = TypeVar("ThingT")


def value(thing: object) -> str:
    """A value as JSON, without spaces."""
    return json.dumps(thing, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class ObjectWriter:
    """Writes one JSON object, its members one after another."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._first = True

    def __enter__(self) -> ObjectWriter:
        self._file.write("{")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.write("}")

    def member(self, name: str, thing: object) -> None:
        """A member whose value is small."""
        self._name(name)
        self._file.write(value(thing))

    def array(self, name: str, items: Iterable[object]) -> None:
        """A member whose value is a list that is made while it is written."""
        self._name(name)
        self._file.write("[")
        for number, item in enumerate(items):
            self._file.write(f"{',' if number else ''}{value(item)}")
        self._file.write("]")

    def objects(self, name: str, things: Iterable[ThingT]) -> Iterator[tuple[ThingT, ObjectWriter]]:
        """A member whose value is a list of objects, each written by the caller for a thing."""
        self._name(name)
        self._file.write("[")
        for number, thing in enumerate(things):
            self._file.write("," if number else "")
            with ObjectWriter(self._file) as inner:
                yield thing, inner
        self._file.write("]")

    def _name(self, name: str) -> None:
        self._file.write(f"{'' if self._first else ','}{value(name)}:")
        self._first = False
