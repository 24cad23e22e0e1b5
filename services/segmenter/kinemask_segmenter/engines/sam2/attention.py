"""Memory attention: a frame's features in the light of what an object's past tells.

`FastAttention` reorders the arithmetic of the official layers (`exact` has them as they are):

- The values of cross-attention are projected after the softmax, on the 64-wide memory, and that
  projection is joined with the output's: 320 multiply-adds a query and key instead of 512. On a CPU
  keys of memory are not made at all (`crossing`): 231.
- What depends on the frame alone is worked out once for all objects: the first layer's
  self-attention and the queries made from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn.functional import linear, relu_

from kinemask_segmenter.engines.sam2.crossing import Reader, Remembered
from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.team import Team
from kinemask_segmenter.engines.sam2.tiles import attend
from kinemask_segmenter.engines.sam2.tokens import Tokens

_ROWS = 512


class Attention(Protocol):
    """How features meet memory."""

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        """`(N, B, 256)` of B frames and as many pasts of one shape."""
        ...


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
        team = Team()
        self._layers = [_Layer(layer, dtype, team) for layer in module.layers]
        self._turns: torch.Tensor | None = None

    def __call__(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        if frames[0].features[-1].is_cuda:
            return self.together(frames, tokens)
        # On a CPU a batch is only more memory to go through.
        seen = [self._one(frame, past) for frame, past in zip(frames, tokens, strict=True)]
        return torch.cat(seen, 1)

    def together(self, frames: Sequence[Encoded], tokens: Sequence[Tokens]) -> torch.Tensor:
        """As a call, all in one batch: what suits a GPU."""
        turns = self._rotations(frames[0])
        seen, queries = (torch.cat(each) for each in zip(*map(self.alone, frames), strict=True))
        memory = torch.cat([self._lowered(each.memory) for each in tokens])
        keyed = memory + torch.cat([self._lowered(each.positions) for each in tokens])
        rotated = memory.shape[1] - tokens[0].pointer_tokens
        for number, layer in enumerate(self._layers):
            if number > 0:
                seen = layer.attend_to_itself(seen, turns)
                queries = layer.queries(seen, turns)
            keys = layer.keys(keyed, turns, rotated)
            seen = layer.mix(seen + layer.joined(attend(queries, keys, memory)))
        return self._normed(seen)

    def _one(self, frame: Encoded, past: Tokens) -> torch.Tensor:
        turns = self._rotations(frame)
        seen, queries = self.alone(frame)
        memory = self._lowered(past.memory)[0]
        keyed = memory + self._lowered(past.positions)[0]
        remembered = Remembered(memory, keyed, past.pointer_tokens, frame.sizes[-1])
        for number, layer in enumerate(self._layers):
            if number > 0:
                seen = layer.attend_to_itself(seen, turns)
                queries = layer.queries(seen, turns)
            read = layer.reader(turns, frame.sizes[-1]).read(queries[0], remembered)
            seen = layer.mix(seen + layer.joined(read[None]))
        return self._normed(seen)

    def _lowered(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(1, L, 64)`."""
        return tokens.transpose(0, 1).to(self._dtype)

    def _normed(self, seen: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self._module.norm(seen.float())
        return normed.transpose(0, 1)

    def alone(self, frame: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """The first layer's self-attention and its queries: the frame's alone."""
        if not frame.attended:
            turns = self._rotations(frame)
            begun = start(self._module, frame).transpose(0, 1).float()
            seen = self._layers[0].attend_to_itself(begun, turns)
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

    def __init__(self, layer: Any, dtype: torch.dtype, team: Team) -> None:
        own, cross = layer.self_attn, layer.cross_attn_image
        if own.num_heads != 1 or cross.num_heads != 1 or layer.pos_enc_at_attn:
            raise ValueError("expected memory attention with one head, positions at keys only")
        if layer.activation_str != "relu":
            raise ValueError(f"expected memory attention with relu, got {layer.activation_str}")
        if layer.pos_enc_at_cross_attn_queries or not layer.pos_enc_at_cross_attn_keys:
            raise ValueError("expected memory attention with positions at keys only")
        self._dtype = dtype
        self._team = team
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
        self._reader: Reader | None = None
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

    def reader(self, turns: torch.Tensor, size: tuple[int, int]) -> Reader:
        """Made once: a model has one size."""
        if self._reader is None:
            self._reader = Reader(*self._key, turns, size, self._team)
        return self._reader

    def joined(self, read: torch.Tensor) -> torch.Tensor:
        """`(B, N, 256)` of what was read, `(B, N, 64)`."""
        return linear(read, *self._read_out)

    def mix(self, seen: torch.Tensor) -> torch.Tensor:
        """The two linear layers, the residual added."""
        if seen.is_cuda:
            return self._mixed(seen)
        # What is between the layers stays in the cache.
        return torch.cat([self._mixed(rows) for rows in seen.split(_ROWS, 1)], 1)

    def _mixed(self, seen: torch.Tensor) -> torch.Tensor:
        first, second = self._mlp
        return seen + linear(relu_(linear(self._normed(2, seen), *first)), *second)


def _rotated(each: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotary position: pairs of channels `(B, N, C)` turned as complex numbers."""
    pairs = torch.view_as_complex(each.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(each.dtype)


def start(module: Any, frame: Encoded) -> torch.Tensor:
    """`(N, 1, 256)`: what the first layer reads."""
    features, positions = frame.features[-1], frame.positions[-1]
    return features + 0.1 * positions if module.pos_enc_at_input else features
