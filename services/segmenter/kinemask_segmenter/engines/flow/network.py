"""A per-pixel classifier small enough to be trained while the video runs.

Two hidden ReLU layers, logistic loss, Adam (Kingma and Ba, 2015). Training on jittered copies of
the prompt frame's pixels follows the one-shot idea of OSVOS (Caelles et al., 2017) without its
pretrained network.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_DECAY_1, _DECAY_2 = 0.9, 0.99
_NOISE_ROWS = 4096


@dataclass
class Network:
    """Weights and Adam moments, in the fixed order `W0 W1 W2 b0 b1 b2`.

    Invariant: the three lists have six float32 arrays of equal shapes.
    """

    weights: list[Floats]
    first: list[Floats]
    second: list[Floats]
    updates: int

    @classmethod
    def fresh(cls, inputs: int, hidden: tuple[int, int], rng: np.random.Generator) -> Network:
        """He-initialised weights (He et al., 2015) for `inputs` features and one output."""
        sizes = (inputs, *hidden, 1)
        pairs = list(itertools.pairwise(sizes))
        layers = [
            (rng.standard_normal(pair) * math.sqrt(2 / pair[0])).astype(np.float32)
            for pair in pairs
        ]
        layers[2] *= 0.3
        weights = [*layers, *(np.zeros(pair[1], np.float32) for pair in pairs)]
        return cls(
            weights, [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights], 0
        )

    def log_odds(self, features: Bytes, offset: Floats, scale: Floats) -> Floats:
        """`(N,)` log-odds that pixels belong to the object.

        Args:
            features: `(N, C)` raw bytes.
            offset: `(C,)` subtracted from the bytes, `scale` `(C,)` multiplied afterwards; both
                are folded into the first layer, so no normalised copy is made.
        """
        w0, w1, w2, b0, b1, b2 = self.weights
        folded = w0 * scale[:, None]
        hidden = features.astype(np.float32) @ folded
        hidden += b0 - offset @ folded
        np.maximum(hidden, 0, out=hidden)
        hidden = hidden @ w1
        hidden += b1
        np.maximum(hidden, 0, out=hidden)
        out: Floats = (hidden @ w2)[:, 0] + b2
        return out

    def train(self, x: Floats, target: Floats, rate: float) -> None:
        """One Adam step. `x` is `(N, C)` normalised features, `target` `(N,)` in 0..1."""
        w0, w1, w2, b0, b1, b2 = self.weights
        a0 = np.maximum(x @ w0 + b0, 0)
        a1 = np.maximum(a0 @ w1 + b1, 0)
        out = (a1 @ w2 + b2)[:, 0]
        error = ((_sigmoid(out) - target) / len(target))[:, None]
        d1 = (error @ w2.T) * (a1 > 0)
        d0 = (d1 @ w1.T) * (a0 > 0)
        self._apply([x.T @ d0, a0.T @ d1, a1.T @ error, d0.sum(0), d1.sum(0), error.sum(0)], rate)

    def _apply(self, gradients: list[Floats], rate: float) -> None:
        self.updates += 1
        step = rate / (1 - _DECAY_1**self.updates)
        correction = 1 / (1 - _DECAY_2**self.updates)
        for weight, m, v, gradient in zip(
            self.weights, self.first, self.second, gradients, strict=True
        ):
            m += (1 - _DECAY_1) * (gradient - m)
            v += (1 - _DECAY_2) * (gradient * gradient - v)
            weight -= np.float32(step) * m / (np.sqrt(v * np.float32(correction)) + 1e-8)


def _sigmoid(x: Floats) -> Floats:
    result: Floats = np.float32(1) / (np.float32(1) + np.exp(-np.clip(x, -30, 30)))
    return result


def noise_bank(width: int) -> Floats:
    """`(4096, width)` standard normal numbers, the same in every process.

    Drawing fresh noise for every batch would cost more than the training itself.
    """
    bank = np.random.default_rng(20).standard_normal((_NOISE_ROWS, width), dtype=np.float32)
    bank.flags.writeable = False
    return bank
