"""A model in lower precision: weights cast once, inputs and outputs where its parts meet.

The heavy parts run in bfloat16: image encoder, mask decoder, memory encoder (memory attention is
`FastAttention`'s own). Prompts and positions stay float32: a pixel of 1024 does not fit 8 bits.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from sam2.modeling.backbones.hieradet import do_pool
from torch import nn

from kinemask_segmenter.engines.sam2.tiles import attend

_HEAVY = ("sam_mask_decoder", "memory_encoder")


def lowered(model: Any, dtype: torch.dtype) -> Any:
    """A copy of a `sam2` `SAM2Base` that takes pictures in `dtype`."""
    low = copy.deepcopy(model)
    low.image_encoder.to(dtype)
    if model.device.type == "cpu":
        for block in low.image_encoder.trunk.blocks:
            block.attn = _Attention(block.attn)
    for name in _HEAVY:
        setattr(low, name, _Cast(getattr(low, name).to(dtype), dtype))
    return low


class _Attention(nn.Module):
    """Hiera's attention by our own products: PyTorch's is no faster in bfloat16 on a CPU."""

    def __init__(self, official: Any) -> None:
        super().__init__()
        self.official = official

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """`(B, H, W, C)` to `(B, H', W', C')`: windows or whole pictures."""
        official, (batch, height, width, _) = self.official, seen.shape
        heads = official.num_heads
        queries, keys, values = official.qkv(seen).chunk(3, -1)
        if official.q_pool:
            queries = do_pool(queries, official.q_pool)
            height, width = queries.shape[1:3]
        parts = (
            each.reshape(batch, -1, heads, each.shape[-1] // heads).transpose(1, 2).flatten(0, 1)
            for each in (queries * (queries.shape[-1] // heads) ** -0.5, keys, values)
        )
        found = attend(*parts).unflatten(0, (batch, heads)).transpose(1, 2)
        return _tensor(official.proj(found.reshape(batch, height, width, -1)))


class _Cast(nn.Module):
    """A module in another precision between ones in float32."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self._dtype = dtype

    def forward(self, *args: Any, **named: Any) -> Any:
        inputs = (_to(each, self._dtype) for each in args)
        found = self.inner(*inputs, **{key: _to(each, self._dtype) for key, each in named.items()})
        return _to(found, torch.float32)

    def __getattr__(self, name: str) -> Any:
        # What the model asks of its parts beside calling them, such as the decoder's `conv_s0`.
        if name in ("inner", "_dtype"):
            return super().__getattr__(name)
        return getattr(super().__getattr__("inner"), name)


def _tensor(found: Any) -> torch.Tensor:
    assert isinstance(found, torch.Tensor)
    return found


def _to(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_to(each, dtype) for each in value)
    if isinstance(value, dict):
        return {key: _to(each, dtype) for key, each in value.items()}
    return value
