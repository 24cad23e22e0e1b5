"""What one object looks like: its classifier and the pixels it is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.network import Floats, Network, noise_bank
from kinemask_segmenter.engines.flow.pixels import (
    FEATURES,
    LIGHTNESS,
    OFFSET,
    SCALE,
    Bytes,
    WorkFrame,
)

_NEAR_PX = 60
_NEAR_SHARE = 0.7
_SURE = 0.3
"""A pixel is learnt from only if its probability is at least this far from one half."""


@dataclass(frozen=True)
class Samples:
    """Labelled pixels: `features` `(N, FEATURES)` bytes and `target` `(N,)` bool."""

    features: Bytes
    target: NDArray[np.bool_]


@cache
def _noise() -> Floats:
    return noise_bank(FEATURES)


@dataclass
class Appearance:
    """A classifier with a long memory (the prompts) and a short one (recent frames).

    Invariants: `recent` holds at most `config.recent_banks` banks; all randomness is derived from
    `seed` and `rounds`, so equal histories give equal classifiers in any process.
    """

    network: Network
    prompted: Samples
    recent: list[Samples] = field(default_factory=list)
    rounds: int = 0
    seed: int = 0

    @classmethod
    def learn(
        cls, frame: WorkFrame, probability: Floats, seed: int, config: FlowConfig
    ) -> Appearance:
        """A new classifier from one frame and its `(h, w)` probability in 0..1."""
        rng = np.random.default_rng([seed, 0])
        samples = draw_samples(frame, probability, config.prompt_samples, rng)
        network = Network.fresh(FEATURES, config.hidden, rng)
        self = cls(network, samples, [], 1, seed)
        for step in range(config.initial_steps):
            rate = config.initial_rate * (1 - 0.8 * step / config.initial_steps)
            self._step([samples], [config.batch], rate, rng, config)
        return self

    def relearn(
        self, frame: WorkFrame, probability: Floats, config: FlowConfig, effort: float = 1.0
    ) -> None:
        """Take a corrected mask in: half the long memory is replaced by this frame's pixels.

        `effort`: 0..1, how much there is to be learnt; training takes as long.
        """
        rng = self._next_rng()
        half = len(self.prompted.target) // 2
        kept = rng.permutation(len(self.prompted.target))[:half]
        new = draw_samples(frame, probability, config.prompt_samples - half, rng)
        self.prompted = Samples(
            np.concatenate([self.prompted.features[kept], new.features]),
            np.concatenate([self.prompted.target[kept], new.target]),
        )
        self.recent.clear()
        for _ in range(round(effort * config.initial_steps / 2)):
            self._step([self.prompted], [config.batch], config.initial_rate / 2, rng, config)

    def adapt(self, frame: WorkFrame, probability: Floats, config: FlowConfig) -> None:
        """Follow slow change: a few training steps on old and recent pixels."""
        due = self.rounds % config.recent_every == 0
        rng = self._next_rng()
        if due:
            bank = draw_samples(frame, probability, config.recent_samples, rng)
            if bank.target.any() and not bank.target.all():
                self.recent = [*self.recent, bank][-config.recent_banks :]
        if not self.recent:
            return
        half = config.batch // 2
        for _ in range(config.steps_per_frame):
            bank = self.recent[int(rng.integers(len(self.recent)))]
            self._step([self.prompted, bank], [half, half], config.rate, rng, config)

    def log_odds(
        self, frame: WorkFrame, rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> Floats:
        """`(N,)` log-odds of the pixels at `rows`, `columns`."""
        return self.network.log_odds(frame.features(rows, columns), OFFSET, SCALE)

    def _next_rng(self) -> np.random.Generator:
        rng = np.random.default_rng([self.seed, self.rounds])
        self.rounds += 1
        return rng

    def _step(
        self,
        banks: list[Samples],
        sizes: list[int],
        rate: float,
        rng: np.random.Generator,
        config: FlowConfig,
    ) -> None:
        picks = [
            rng.integers(len(bank.target), size=size)
            for bank, size in zip(banks, sizes, strict=True)
        ]
        raw = np.concatenate([b.features[p] for b, p in zip(banks, picks, strict=True)])
        label = np.concatenate([b.target[p] for b, p in zip(banks, picks, strict=True)])
        target = label.astype(np.float32) * np.float32(1 - 2 * config.label_smoothing)
        target += np.float32(config.label_smoothing)
        x = (raw.astype(np.float32) - OFFSET) * SCALE
        self.network.train(_jitter(x, rng, config), target, rate)


def _jitter(x: Floats, rng: np.random.Generator, config: FlowConfig) -> Floats:
    """Change the light and add noise, so that neither is taken for the object's mark."""
    noise, count = _noise(), len(x)
    gain = rng.standard_normal((2, count, 1), dtype=np.float32) * np.float32(config.light_jitter)
    black = np.float32(128 / 50)
    x[:, LIGHTNESS] = (x[:, LIGHTNESS] + black) * (1 + gain[0]) - black + gain[1]
    start = int(rng.integers(max(1, len(noise) - count)))
    x += noise[start : start + count] * np.float32(config.feature_noise)
    return x


def draw_samples(
    frame: WorkFrame, probability: Floats, count: int, rng: np.random.Generator
) -> Samples:
    """About `count` confidently labelled pixels, half of them the object's, if there are any.

    Background is drawn mostly from near the object, where telling it apart matters.
    """
    mask = probability > 0.5
    sure = np.abs(probability - 0.5) > _SURE
    inside, outside = np.flatnonzero(mask & sure), np.flatnonzero(~mask & sure)
    if len(inside) == 0:
        inside = np.flatnonzero(mask)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3).ravel()
    near = outside[distance[outside] < _NEAR_PX]
    wanted = count // 2
    at = np.concatenate(
        [
            _choose(inside, wanted, rng),
            _choose(near, int(wanted * _NEAR_SHARE), rng),
            _choose(outside, wanted - int(wanted * _NEAR_SHARE), rng),
        ]
    )
    rows, columns = np.divmod(at, frame.shape[1])
    return Samples(frame.features(rows, columns), mask.ravel()[at])


def _choose(pool: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    if len(pool) == 0:
        return np.zeros(0, np.intp)
    return pool[rng.integers(len(pool), size=count)]
