"""A model in lower precision: weights cast once, inputs and outputs where its parts meet.

The heavy parts run in bfloat16: image encoder, mask decoder, memory encoder (memory attention is
`FastAttention`'s own). Prompts and positions stay float32: a pixel of 1024 does not fit 8 bits.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

_HEAVY = ("sam_mask_decoder", "memory_encoder")


def lowered(model: Any, dtype: torch.dtype) -> Any:
    """A copy of a `sam2` `SAM2Base` that takes pictures in `dtype`."""
    low = copy.deepcopy(model)
    low.image_encoder.to(dtype)
    for name in _HEAVY:
        setattr(low, name, _Cast(getattr(low, name).to(dtype), dtype))
    return low


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


def _to(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_to(each, dtype) for each in value)
    if isinstance(value, dict):
        return {key: _to(each, dtype) for key, each in value.items()}
    return value
