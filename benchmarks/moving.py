"""Made video for benchmarks that need no truth: a textured object over a textured background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]


def moving_frames(count: int, width: int, height: int, seed: int = 1) -> list[RgbImage]:
    """`count` frames `(H, W, 3)` uint8 RGB; the object moves smoothly and turns a little."""
    rng = np.random.default_rng(seed)
    background = _texture(rng, width + 80, height + 80, 6)
    side = height // 4
    patch = _texture(rng, side, side, 3)
    patch = np.clip(patch.astype(np.int16) + np.array((60, -30, -60)), 0, 255).astype(np.uint8)
    return [_frame(background, patch, width, height, index / count) for index in range(count)]


def object_box(width: int, height: int) -> tuple[float, float, float, float]:
    """Box of the object on the first frame."""
    side = height // 4
    x_min, y_min = width * 0.25 - side / 2, height * 0.5 - side / 2
    return x_min, y_min, x_min + side, y_min + side


def _texture(rng: np.random.Generator, width: int, height: int, grain: int) -> RgbImage:
    small = rng.integers(0, 256, (height // grain + 1, width // grain + 1, 3), dtype=np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def _frame(
    background: RgbImage, patch: RgbImage, width: int, height: int, share: float
) -> RgbImage:
    shift = int(40 * share)
    image = background[shift : shift + height, shift : shift + width].copy()
    side = patch.shape[0]
    center_x = width * (0.25 + 0.5 * share)
    center_y = height * (0.5 + 0.15 * np.sin(2 * np.pi * share))
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), 20 * np.sin(2 * np.pi * share), 1.0)
    matrix[:, 2] += (center_x - side / 2, center_y - side / 2)
    cv2.warpAffine(patch, matrix, (width, height), dst=image, borderMode=cv2.BORDER_TRANSPARENT)
    return image
