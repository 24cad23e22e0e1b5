"""Cross-attention to memory maps on a CPU, at less than half of the usual arithmetic.

Memory is 64 wide, its keys are 256, and a rotary position turns half of a key's channels by the
column of its place and half by its row. So a query's score of a key is

    q · R(x, y) (W m + b) = (W_xᵀ R_xᵀ q_x) · m + (W_yᵀ R_yᵀ q_y) · m + q · R(x, y) b

If a query is projected once for every column and once for every row of the picture (128
projections, not 4096), the rest is two products of 64 numbers with what is remembered, instead of
one of 256 with keys, which need not be made at all. The values are remembered features themselves:
their projection follows after the softmax. Together 231 multiply-adds a query and key at 1024 px
and seven maps, instead of 512.

Keys are read in blocks that fit into the cache, each added to a running sum (Milakov and
Gimelshein, "Online normalizer calculation for softmax", 2018). Weights are relative to the greatest
score of some keys: it is at least 1 in the sum, and only a score that is higher by 88 overflows,
which shows in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinemask_segmenter.engines.sam2.team import Team

_QUERIES = 256
_COLUMNS = 16
_ROWS = 16
"""Measured to be best on CPUs: a block and its scores are about a core's cache."""
_NEGLIGIBLE = 1e-7
_WIDTH = 65
"""Of what is remembered, and a 1 for b."""


@dataclass(frozen=True)
class _Block:
    """X columns and Y rows of all F maps: what is remembered, with places, and a 1 for b."""

    columns: slice
    rows: slice
    by_column: torch.Tensor
    """`(X, Y * F, 65)`: row by row, map by map."""
    by_row: torch.Tensor
    """`(Y, F * X, 65)`: map by map, column by column."""
    values: torch.Tensor
    """`(65, Y * F * X)`: what is remembered without places; the last of ones."""


class Remembered:
    """One object's memory laid out for reading; the same for every layer."""

    def __init__(
        self,
        memory: torch.Tensor,
        keyed: torch.Tensor,
        pointer_tokens: int,
        size: tuple[int, int],
    ) -> None:
        """`memory` and `keyed`, which is memory with its places added: `(L, 64)`, maps of `size`
        (rows, columns) first, `pointer_tokens` of no place last."""
        ones = memory.new_ones(len(memory), 1)
        values, keys = torch.cat([memory, ones], 1), torch.cat([keyed, ones], 1)
        placed = len(memory) - pointer_tokens
        self.pointers = keys[placed:], values[placed:].t()
        # From (map, row, column) to (row, map, column).
        grids = [each[:placed].view(-1, *size, _WIDTH).transpose(0, 1) for each in (keys, values)]
        self.blocks = [
            _block(slice(x, x + _COLUMNS), slice(y, y + _ROWS), *grids)
            for x in range(0, size[1], _COLUMNS)
            for y in range(0, size[0], _ROWS)
        ]


def _block(columns: slice, rows: slice, keys: torch.Tensor, values: torch.Tensor) -> _Block:
    part = keys[rows, :, columns]
    return _Block(
        columns,
        rows,
        part.flatten(0, 1).transpose(0, 1).contiguous(),
        part.flatten(1, 2).contiguous(),
        values[rows, :, columns].flatten(0, 2).t().contiguous(),
    )


class Reader:
    """One layer's keys, as projections of its queries."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        turns: torch.Tensor,
        size: tuple[int, int],
        team: Team,
    ) -> None:
        """`weight` `(256, 64)` and `bias` of its keys; `turns` `(rows * columns, 128)` complex."""
        key = torch.cat([weight, bias[:, None]], 1)
        grid = turns.view(*size, -1)
        half, pairs = len(weight) // 2, len(weight) // 4
        self._team = team
        self._free = key.t().contiguous()
        self._columns = _Turned(key[:half], grid[0, :, :pairs])
        self._rows = _Turned(key[half:], grid[:, 0, pairs:])

    def read(self, queries: torch.Tensor, remembered: Remembered) -> torch.Tensor:
        """`(N, 64)` for scaled and rotated queries `(N, 256)`."""
        tiles = queries.split(_QUERIES)
        return torch.cat(self._team.map(lambda each: self._tile(each, remembered), tiles))

    def _tile(self, queries: torch.Tensor, remembered: Remembered) -> torch.Tensor:
        scores = _Scores(self._projected(queries), remembered.blocks)
        scores.shift(scores.guess(remembered))
        found = _weighted(scores, remembered)
        if not bool(found.isfinite().all()):
            # A score was higher than the guess by 88 or more.
            scores.shift(_greatest(scores, remembered))
            found = _weighted(scores, remembered)
        return (found[:-1] / found[-1]).t().to(queries.dtype)

    def _projected(self, queries: torch.Tensor) -> _Projected:
        turned, half = queries.t(), queries.shape[1] // 2
        return _Projected(
            self._columns.projected(turned[:half]),
            self._rows.projected(turned[half:]),
            torch.mm(self._free, turned),
        )


@dataclass(frozen=True)
class _Projected:
    """Some Q queries as remembered features are read by them."""

    columns: torch.Tensor
    """`(columns, 65, Q)`."""
    rows: torch.Tensor
    """`(rows, 65, Q)`."""
    free: torch.Tensor
    """`(65, Q)`: for what has no place."""


class _Scores:
    """Scores of some queries, block by block in the same memory."""

    def __init__(self, queries: _Projected, blocks: Sequence[_Block]) -> None:
        self._queries = queries
        most = max(each.values.shape[1] for each in blocks)
        self._memory = queries.free.new_empty(most, queries.free.shape[1])

    def shift(self, peak: torch.Tensor) -> None:
        """Take `(Q,)` from all scores to come: what is read ends in a 1."""
        self._queries.columns[:, -1] -= peak
        self._queries.free[-1] -= peak

    def of(self, block: _Block) -> torch.Tensor:
        """`(Y * F * X, Q)`, until the next call."""
        columns, rows = len(block.by_column), len(block.by_row)
        scores = self._memory[: block.values.shape[1]]
        by_row = scores.unflatten(0, (rows, -1))
        torch.bmm(block.by_row, self._queries.rows[block.rows], out=by_row)
        by_column = scores.unflatten(0, (-1, columns)).transpose(0, 1)
        by_column.baddbmm_(block.by_column, self._queries.columns[block.columns])
        return scores

    def guess(self, remembered: Remembered) -> torch.Tensor:
        """`(Q,)`: about the greatest score; one of them, in any case."""
        keys, _ = remembered.pointers
        some = self.free(keys) if len(keys) else self.of(remembered.blocks[0])
        return some.amax(0)

    def free(self, keys: torch.Tensor) -> torch.Tensor:
        """`(L, Q)` of keys of no place `(L, 65)`."""
        return torch.mm(keys, self._queries.free)


def _weighted(scores: _Scores, remembered: Remembered) -> torch.Tensor:
    """`(65, Q)` float32: sums of values by weight, and of weights."""
    keys, values = remembered.pointers
    total = torch.mm(values, scores.free(keys).exp_()).float()
    for block in remembered.blocks:
        weights = scores.of(block).exp_()
        if total.dtype == weights.dtype:
            total.addmm_(block.values, weights)
        else:
            total.add_(torch.mm(block.values, weights))
    return total


def _greatest(scores: _Scores, remembered: Remembered) -> torch.Tensor:
    """`(Q,)`: the greatest score of each query."""
    greatest = [scores.of(block).amax(0) for block in remembered.blocks]
    if len(remembered.pointers[0]):
        greatest.append(scores.free(remembered.pointers[0]).amax(0))
    return torch.stack(greatest).amax(0)


class _Turned:
    """A key's channels turned by each of S columns, or rows.

    Turns are slow in most channels, so that few places are independent (27 of 64): what depends on
    the place and what depends on the query are two factors.
    """

    def __init__(self, weight: torch.Tensor, turns: torch.Tensor) -> None:
        """`weight` `(C, 65)` and `turns` `(S, C / 2)` complex."""
        pairs = torch.view_as_complex(weight.t().double().unflatten(-1, (-1, 2)).contiguous())
        every = torch.view_as_real(pairs * turns[:, None]).reshape(len(turns), -1)
        places, sizes, parts = torch.linalg.svd(every, full_matrices=False)
        rank = int((sizes > sizes[0] * _NEGLIGIBLE).sum())
        self._places = (places * sizes)[:, :rank].to(weight.dtype)
        self._parts = parts[:rank].reshape(rank * _WIDTH, -1).to(weight.dtype)

    def projected(self, queries: torch.Tensor) -> torch.Tensor:
        """`(S, 65, Q)` of half of the channels of queries, `(C, Q)`."""
        parts = torch.mm(self._parts, queries).view(self._places.shape[1], -1)
        return torch.mm(self._places, parts).view(len(self._places), _WIDTH, -1)
