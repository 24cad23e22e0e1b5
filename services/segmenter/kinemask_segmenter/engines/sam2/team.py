"""Several pieces of work on a CPU at once, each with one core.

A chain of small operations runs better so than one after another with every core in each: nobody
waits for the slowest after each operation, and what a piece works on stays in its core's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_FEW = 8
"""Pieces that PyTorch's own threads do as soon: the team has to wake up."""


class Team:
    """As many threads as PyTorch uses; made when first needed. One caller at a time."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def map(self, work: Callable[[T], R], pieces: Sequence[T]) -> list[R]:
        """`work` of each piece, in order, in inference mode. Raises what `work` raises."""
        size = torch.get_num_threads()
        if size == 1 or len(pieces) <= _FEW:
            return [work(piece) for piece in pieces]
        pool = self._of(size)
        # The number is PyTorch's own of a thread, but its BLAS has one for all of them.
        torch.set_num_threads(1)
        try:
            return list(pool.map(lambda piece: _inferred(work, piece), pieces))
        finally:
            torch.set_num_threads(size)

    def _of(self, size: int) -> ThreadPoolExecutor:
        if self._pool is None or self._size != size:
            if self._pool is not None:
                self._pool.shutdown()
            self._size = size
            self._pool = ThreadPoolExecutor(
                size, "sam2-team", initializer=lambda: torch.set_num_threads(1)
            )
        return self._pool


def _inferred(work: Callable[[T], R], piece: T) -> R:
    with torch.inference_mode():
        return work(piece)
