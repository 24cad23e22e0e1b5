"""Files up and down in pieces, resumed where they broke off."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from kinemask.errors import (
    AbortedError,
    DataLossError,
    ErrorInfo,
    KinemaskError,
    UnavailableError,
)

OnBytes: TypeAlias = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

_TRIES_WITHOUT_GAIN = 8
_PAUSE_S = 0.5
_BLOCK = 1024 * 1024


def until_done(step: Callable[[], int | None]) -> None:
    """Call `step` until it gives None; a passing error is tried again while there is gain.

    `step` gives how far it came. UnavailableError and AbortedError pass: somebody else sends the
    same upload, or a killed gateway still counts as sending.
    """
    failures = 0
    while True:
        try:
            if step() is None:
                return
            failures = 0
        except (UnavailableError, AbortedError) as error:
            failures += 1
            if failures > _TRIES_WITHOUT_GAIN:
                raise
            time.sleep(max(_PAUSE_S * failures, error.retry_after_s or 0.0))


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits in lower case."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    path: Path, ask: Callable[[int], Iterator[Any]], on_bytes: OnBytes | None = None
) -> None:
    """Write a file that comes as messages of `file` and `chunk`, from the offset that is asked for.

    It appears at `path` once it is whole and its SHA-256 is right. What came stays in `NAME.part`
    beside it, also if this is interrupted: the next call goes on from there.

    Raises:
        KinemaskError: as the call; DataLossError if the checksum is wrong.
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    expected: list[str] = []

    def step() -> int | None:
        have = part.stat().st_size if part.exists() else 0
        try:
            size, digest = _fetched(part, ask(have), on_bytes)
        except KinemaskError:
            if part.exists() and part.stat().st_size > have:
                return have  # it came further: that is no failure yet
            raise
        expected[:] = [digest]
        return None if part.stat().st_size >= size else have

    until_done(step)
    found = file_sha256(part)
    if found != expected[0]:
        part.unlink()
        what = f"{path.name}: expected SHA-256 {expected[0]}, the bytes that came have {found}"
        raise DataLossError(what, info=ErrorInfo(reason="CHECKSUM_MISMATCH"))
    part.replace(path)


def _fetched(part: Path, messages: Iterator[Any], on_bytes: OnBytes | None) -> tuple[int, str]:
    """Append what comes; the size and SHA-256 that the whole file has."""
    with closing(messages), part.open("ab") as file:  # type: ignore[type-var]  # a generator
        facts = next(messages).file
        for message in messages:
            chunk = message.chunk
            if chunk.offset != file.tell() or zlib.crc32(chunk.data) != chunk.crc32:
                info = ErrorInfo(reason="CHUNK_DAMAGED")
                raise UnavailableError("a chunk was damaged on its way", info=info)
            file.write(chunk.data)
            if on_bytes is not None:
                on_bytes(file.tell(), facts.size_bytes)
    return facts.size_bytes, facts.sha256


def chunks_of(
    path: Path, offset: int, on_bytes: OnBytes | None, total: int
) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of a file from an offset on."""
    with path.open("rb") as file:
        file.seek(offset)
        while data := file.read(_BLOCK):
            yield offset, data
            offset += len(data)
            if on_bytes is not None:
                on_bytes(offset, total)
