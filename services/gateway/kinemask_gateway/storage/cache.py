"""Copies of remote objects on this machine, for code that needs a file."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

_MOST_BYTES = 20 * 1024**3


class LocalCopies:
    """Files named by their key's hash; the least recently used ones go when there are too many.

    Keys are never used again for other bytes, so a copy that is there is right. Invariant: a file
    without `.part` at its end is whole.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._locks: dict[str, asyncio.Lock] = {}
        self._held: dict[Path, int] = {}

    @asynccontextmanager
    async def hold(
        self, key: str, size: int, read: Callable[[], AsyncIterator[bytes]]
    ) -> AsyncIterator[Path]:
        """The copy of an object of `size` bytes, fetched by `read` if it is not there."""
        path = self._path(key)
        self._held[path] = self._held.get(path, 0) + 1
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                if not path.is_file() or path.stat().st_size != size:
                    await self._fetch(path, size, read)
            path.touch()
            yield path
        finally:
            self._held[path] -= 1
            if not self._held[path]:
                del self._held[path]
                self._locks.pop(key, None)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove the copies of objects that are gone."""
        if self._folder.is_dir():
            for key in keys:
                self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        # The ending is kept: FFmpeg looks at it.
        return self._folder / (hashlib.sha256(key.encode()).hexdigest() + Path(key).suffix)

    async def _fetch(self, path: Path, size: int, read: Callable[[], AsyncIterator[bytes]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(size)
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:
                async for piece in read():
                    await asyncio.to_thread(file.write, piece)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        files = [p for p in self._folder.iterdir() if p.is_file() and p not in self._held]
        files.sort(key=lambda p: p.stat().st_mtime)
        left = self._most_bytes - size - sum(p.stat().st_size for p in self._held if p.is_file())
        total = sum(p.stat().st_size for p in files)
        for path in files:
            if total <= left:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)
