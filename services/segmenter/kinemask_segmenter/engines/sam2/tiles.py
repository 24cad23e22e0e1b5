"""Softmax attention: PyTorch's, and ours in tiles where that is slow.

Keys and queries meet in tiles that fit into the cache, each added to a running sum (Milakov and
Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

_QUERY_TILE = 1024
_KEY_TILE = 1024
_SMALL = 256
"""Queries, and keys, of which nothing has to be cut: a window of the image encoder."""


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Softmax attention of scaled queries `(B, N, D)`, keys `(B, L, D)` and values `(B, L, E)`.

    Returns `(B, N, E)`. PyTorch's, but in bfloat16 on a CPU, where that is as slow as in float32.
    """
    if queries.is_cuda or queries.dtype is torch.float32:
        found = scaled_dot_product_attention(
            queries.unsqueeze(1), keys.unsqueeze(1), values.unsqueeze(1), scale=1.0
        )
        return found.squeeze(1)
    if queries.shape[1] <= _SMALL and keys.shape[1] <= _SMALL:
        return torch.bmm(torch.softmax(torch.bmm(queries, keys.transpose(1, 2)), -1), values)
    return torch.stack([_tiled(*each) for each in zip(queries, keys, values, strict=True)])


def _tiled(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One batch entry on a CPU."""
    return torch.cat([_row(some, keys, values) for some in queries.split(_QUERY_TILE)])


def _row(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    tiles = list(zip(keys.split(_KEY_TILE), values.split(_KEY_TILE), strict=True))
    row = _tile_row(queries, tiles)
    return row if bool(row.isfinite().all()) else _whole_row(queries, keys, values)


def _tile_row(
    queries: torch.Tensor, tiles: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """Weights relative to the first tile's maximum: it is at least 1 in the sum, and only a score
    that is higher by 88 overflows, which shows in the result."""
    (keys, values), *others = tiles
    scores = torch.mm(queries, keys.t())
    peak = scores.amax(-1, keepdim=True)
    weights = scores.sub_(peak).exp_()
    total = torch.mm(weights, values).float()
    weight = weights.sum(-1, keepdim=True, dtype=torch.float32)
    for keys, values in others:
        weights = torch.mm(queries, keys.t()).sub_(peak).exp_()
        if total.dtype == values.dtype:
            total.addmm_(weights, values)
        else:
            total.add_(torch.mm(weights, values))
        weight.add_(weights.sum(-1, keepdim=True, dtype=torch.float32))
    return (total / weight).to(queries.dtype)


def _whole_row(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(torch.mm(queries, keys.t()).float(), -1)
    return torch.mm(weights.to(values.dtype), values)
