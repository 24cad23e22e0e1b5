"""Memory attention: a frame's features in the light of what an object's past tells.

`ExactAttention` runs the official layers. `FastAttention` reorders their arithmetic:

- The values of cross-attention are projected after the softmax, on the 64-wide memory, and that
  projection is joined with the output's: 320 multiply-adds a query and key instead of 512.
- Keys and queries meet in tiles that fit into the cache, each added to a running sum (Milakov and
  Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention",
  2022).
- What depends on the frame alone is worked out once for all objects: the first layer's
  self-attention and the queries made from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn.functional import linear, relu, scaled_dot_product_attention

from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.tokens import Tokens

_QUERY_TILE = 1024
_KEY_TILE = 1024


class Attention(Protocol):
    """How features meet memory."""

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        """`(N, B, 256)` of B frames and as many pasts of one shape."""
        ...


class ExactAttention:
    """The official module's layers, bit for bit, one object at a time."""

    def __init__(self, module: Any) -> None:
        """`module` is a `sam2` `MemoryAttention`."""
        self._module = module

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        seen = [self._one(frame, past) for frame, past in zip(frames, tokens, strict=True)]
        return seen[0] if len(seen) == 1 else torch.cat(seen, 1)

    def _one(self, frame: Encoded, past: Tokens) -> torch.Tensor:
        first, *others = self._module.layers
        position = frame.positions[-1].transpose(0, 1)
        if not frame.attended:
            start = _start(self._module, frame)
            frame.attended = (first._forward_sa(start.transpose(0, 1), position),)
        memory, places = past.memory.transpose(0, 1), past.positions.transpose(0, 1)
        (seen,) = frame.attended
        seen = first._forward_ca(seen, memory, position, places, past.pointer_tokens)
        seen = seen + first.linear2(first.activation(first.linear1(first.norm3(seen))))
        for layer in others:
            seen = layer(
                tgt=seen,
                memory=memory,
                pos=places,
                query_pos=position,
                num_k_exclude_rope=past.pointer_tokens,
            )
        found: torch.Tensor = self._module.norm(seen).transpose(0, 1)
        return found


class FastAttention:
    """The same within 1e-4 (float32), with less arithmetic.

    Made for the layers that every published SAM 2 has: one head, no position added to queries or
    to what self-attention reads.
    """

    def __init__(self, module: Any, dtype: torch.dtype = torch.float32) -> None:
        """`module` is a `sam2` `MemoryAttention`; its weights are copied where `dtype` differs.

        Raises:
            ValueError: its layers are built another way.
        """
        self._module = module
        self._dtype = dtype
        self._layers = [_Layer(layer, dtype) for layer in module.layers]
        self._turns: torch.Tensor | None = None

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        turns = self._rotations(frames[0])
        seen, queries = (torch.cat(each) for each in zip(*map(self._alone, frames), strict=True))
        memory = torch.cat([each.memory.transpose(0, 1) for each in tokens]).to(self._dtype)
        places = torch.cat([each.positions.transpose(0, 1) for each in tokens]).to(self._dtype)
        rotated = memory.shape[1] - tokens[0].pointer_tokens
        keyed = memory + places
        for number, layer in enumerate(self._layers):
            if number > 0:
                seen = layer.attend_to_itself(seen, turns)
                queries = layer.queries(seen, turns)
            keys = layer.keys(keyed, turns, rotated)
            seen = layer.mix(seen + layer.read(queries, keys, memory))
        normed: torch.Tensor = self._module.norm(seen.float())
        return normed.transpose(0, 1)

    def _alone(self, frame: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """The first layer's self-attention and its queries: the frame's alone."""
        if not frame.attended:
            turns = self._rotations(frame)
            start = _start(self._module, frame).transpose(0, 1).float()
            seen = self._layers[0].attend_to_itself(start, turns)
            frame.attended = (seen, self._layers[0].queries(seen, turns))
        seen, queries = frame.attended
        return seen, queries

    def _rotations(self, frame: Encoded) -> torch.Tensor:
        """`(N, 128)` complex: the rotary position of every place."""
        height, width = frame.sizes[-1]
        if self._turns is None:
            attention = self._module.layers[0].cross_attn_image
            turns: torch.Tensor = attention.compute_cis(end_x=width, end_y=height)
            self._turns = turns.to(frame.features[-1].device)
        return self._turns


class _Layer:
    """One layer's weights, joined where that saves work."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        own, cross = layer.self_attn, layer.cross_attn_image
        if own.num_heads != 1 or cross.num_heads != 1 or layer.pos_enc_at_attn:
            raise ValueError("expected memory attention with one head, positions at keys only")
        if layer.activation_str != "relu":
            raise ValueError(f"expected memory attention with relu, got {layer.activation_str}")
        if layer.pos_enc_at_cross_attn_queries or not layer.pos_enc_at_cross_attn_keys:
            raise ValueError("expected memory attention with positions at keys only")
        self._dtype = dtype
        self._norms = [layer.norm1, layer.norm2, layer.norm3]
        # Scaling by 1/16 here is exact; projections that follow each other are one.
        scale = 1 / math.sqrt(own.internal_dim)
        joined = torch.cat([own.q_proj.weight * scale, own.k_proj.weight, own.v_proj.weight])
        bias = torch.cat([own.q_proj.bias * scale, own.k_proj.bias, own.v_proj.bias])
        self._own_in = self._cast(joined, bias)
        self._own_out = self._cast(own.out_proj.weight, own.out_proj.bias)
        scale = 1 / math.sqrt(cross.internal_dim)
        self._query = self._cast(cross.q_proj.weight * scale, cross.q_proj.bias * scale)
        self._key = self._cast(cross.k_proj.weight, cross.k_proj.bias)
        out, value = cross.out_proj, cross.v_proj
        weight = out.weight.double() @ value.weight.double()
        shift = out.weight.double() @ value.bias.double() + out.bias.double()
        self._read_out = self._cast(weight, shift)
        self._mlp = [self._cast(each.weight, each.bias) for each in (layer.linear1, layer.linear2)]

    def _cast(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return weight.detach().to(self._dtype), bias.detach().to(self._dtype)

    def _normed(self, number: int, seen: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self._norms[number](seen.float())
        return normed.to(self._dtype)

    def attend_to_itself(self, seen: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """`(B, N, 256)`, the residual added."""
        parts = linear(self._normed(0, seen), *self._own_in).chunk(3, -1)
        queries, keys = _rotated(parts[0], turns), _rotated(parts[1], turns)
        found = attend(queries, keys, parts[2])
        return seen + linear(found, *self._own_out)

    def queries(self, seen: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """`(B, N, 256)`, scaled and rotated."""
        return _rotated(linear(self._normed(1, seen), *self._query), turns)

    def keys(self, keyed: torch.Tensor, turns: torch.Tensor, rotated: int) -> torch.Tensor:
        """`(B, L, 256)`; the first `rotated` have a place in the picture."""
        keys = linear(keyed, *self._key)
        maps = keys[:, :rotated].unflatten(1, (-1, len(turns)))
        return torch.cat([_rotated(maps, turns).flatten(1, 2), keys[:, rotated:]], 1)

    def read(self, queries: torch.Tensor, keys: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """`(B, N, 256)` from 64-wide memory."""
        return linear(attend(queries, keys, memory), *self._read_out)

    def mix(self, seen: torch.Tensor) -> torch.Tensor:
        """The two linear layers, the residual added."""
        first, second = self._mlp
        return seen + linear(relu(linear(self._normed(2, seen), *first)), *second)


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Softmax attention of scaled queries `(B, N, D)`, keys `(B, L, D)` and values `(B, L, E)`.

    Returns `(B, N, E)`.
    """
    if queries.is_cuda:
        found = scaled_dot_product_attention(
            queries.unsqueeze(1), keys.unsqueeze(1), values.unsqueeze(1), scale=1.0
        )
        return found.squeeze(1)
    return torch.stack([_tiled(*each) for each in zip(queries, keys, values, strict=True)])


def _tiled(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One batch entry on a CPU."""
    tiles = list(zip(keys.split(_KEY_TILE), values.split(_KEY_TILE), strict=True))
    found = []
    for each in queries.split(_QUERY_TILE):
        row = _tile_row(each, tiles)
        found.append(row if bool(row.isfinite().all()) else _whole_row(each, keys, values))
    return torch.cat(found)


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


def _rotated(each: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotary position: pairs of channels `(B, N, C)` turned as complex numbers."""
    pairs = torch.view_as_complex(each.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(each.dtype)


def _start(module: Any, frame: Encoded) -> torch.Tensor:
    """`(N, 1, 256)`: what the first layer reads."""
    features, positions = frame.features[-1], frame.positions[-1]
    return features + 0.1 * positions if module.pos_enc_at_input else features
