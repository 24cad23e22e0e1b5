"""One checkpoint's models: an input size and a tier each, all on one set of weights."""

from __future__ import annotations

import threading
from typing import Any

import torch

from kinemask_segmenter.engines.sam2.attention import FastAttention
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint
from kinemask_segmenter.engines.sam2.encoder import FastEncoder
from kinemask_segmenter.engines.sam2.exact import ExactAttention, ExactEncoder
from kinemask_segmenter.engines.sam2.forward import Forward
from kinemask_segmenter.engines.sam2.precision import lowered
from kinemask_segmenter.engines.sam2.weights import build, state_dict

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Models:
    """Built when first asked for; any thread. Precision is of the fast tier: exact is float32."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: str) -> None:
        self._checkpoint = checkpoint
        self._device = device
        self._dtype = PRECISIONS[precision]
        self._weights: Any = None
        self._models: dict[int | None, Any] = {}
        self._forwards: dict[tuple[int | None, bool], Forward] = {}
        self._loading = threading.Lock()

    def model(self, size: int | None) -> Any:
        """The `SAM2Base` in float32 for an input size; None is the configuration's own.

        Raises:
            ValueError: the weights are none, or do not fit.
        """
        with self._loading:
            return self._model(size)

    def forward(self, size: int | None, fast: bool) -> Forward:
        """The arithmetic for a stream. Raises ValueError as `model`."""
        with self._loading:
            key = (size, fast)
            if key not in self._forwards:
                model = self._model(size)
                self._forwards[key] = fast_forward(model, self._dtype) if fast else exact(model)
            return self._forwards[key]

    def clear(self) -> None:
        """Let go of everything."""
        self._models.clear()
        self._forwards.clear()
        self._weights = None

    def _model(self, size: int | None) -> Any:
        if size not in self._models:
            if self._weights is None:
                self._weights = state_dict(self._checkpoint)
            model = build(self._checkpoint, self._weights, size)
            self._models[size] = model.to(self._device)
            self._weights = model.state_dict()
        return self._models[size]


def exact(model: Any) -> Forward:
    """The official arithmetic, bit for bit, one object at a time."""
    attention = ExactAttention(model.memory_attention)
    return Forward(model, attention, ExactEncoder(model), batched=False)


def fast_forward(model: Any, dtype: torch.dtype = torch.float32) -> Forward:
    """Reordered and batched arithmetic: masks within 1e-4 in float32."""
    attention = FastAttention(model.memory_attention, dtype)
    low = model if dtype is torch.float32 else lowered(model, dtype)
    return Forward(low, attention, FastEncoder(low, dtype), batched=True)
