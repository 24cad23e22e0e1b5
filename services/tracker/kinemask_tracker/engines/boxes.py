"""Box geometry on arrays of boxes. Everything is float64 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MIN_SIDE_PX = 0.1
"""Thinner boxes are treated as this thin, so that areas and ratios stay finite."""


def centre_size(boxes_xyxy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`(N, 4)` xyxy -> `(N, 2)` centres and `(N, 2)` sizes of at least `MIN_SIDE_PX`."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return (low + high) * 0.5, np.maximum(high - low, MIN_SIDE_PX)


def from_centre_size(centre_px: FloatArray, size_px: FloatArray) -> FloatArray:
    """`(N, 2)` centres and sizes -> `(N, 4)` xyxy."""
    half = size_px * 0.5
    return np.concatenate([centre_px - half, centre_px + half], axis=1)


def iou_matrix(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)`, `(M, 4)` -> `(N, M)` intersection over union in 0..1."""
    overlap = _shared(first_xyxy, second_xyxy, 0, None) * _shared(first_xyxy, second_xyxy, 1, None)
    union = areas(first_xyxy)[:, None] + areas(second_xyxy)[None, :] - overlap
    return np.asarray(overlap / np.maximum(union, MIN_SIDE_PX * MIN_SIDE_PX))


def _shared(
    first_xyxy: FloatArray, second_xyxy: FloatArray, axis: int, grown: FloatArray | None
) -> FloatArray:
    """`(N, M)` length that boxes share along x (0) or y (1), the first ones `(N, 1)` longer."""
    # Axis by axis: arrays whose last axis has length two are several times slower.
    low = np.maximum(first_xyxy[:, axis, None], second_xyxy[None, :, axis])
    high = np.minimum(first_xyxy[:, axis + 2, None], second_xyxy[None, :, axis + 2])
    length = np.subtract(high, low, out=high)
    if grown is not None:
        length += grown
    return np.maximum(length, 0.0, out=length)


def areas(boxes_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)` -> `(N,)` areas in square pixels."""
    sides = _sides(boxes_xyxy)
    return np.asarray(sides[:, 0] * sides[:, 1])


def height_ratio(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)`, `(M, 4)` -> `(N, M)` the smaller height over the larger, 0..1."""
    a = np.maximum(first_xyxy[:, 3] - first_xyxy[:, 1], MIN_SIDE_PX)[:, None]
    b = np.maximum(second_xyxy[:, 3] - second_xyxy[:, 1], MIN_SIDE_PX)[None, :]
    return np.asarray(np.minimum(a, b) / np.maximum(a, b))


def enlarged_iou_matrix(
    first_xyxy: FloatArray, second_xyxy: FloatArray, margin_px: FloatArray
) -> FloatArray:
    """`(N, 4)`, `(M, 4)` -> `(N, M)` IoU of both boxes enlarged by the first one's margin.

    `margin_px` is `(N, 2)`: how far each first box, and whatever it is compared with, grows to
    either side in x and in y (buffered IoU, Yang et al. 2023).
    """
    wider, taller = 2 * margin_px[:, :1], 2 * margin_px[:, 1:]
    overlap = _shared(first_xyxy, second_xyxy, 0, wider)
    overlap *= _shared(first_xyxy, second_xyxy, 1, taller)
    first, second = _sides(first_xyxy), _sides(second_xyxy)
    union = ((first[:, :1] + wider) * (first[:, 1:] + taller)) - overlap
    union += (second[None, :, 0] + wider) * (second[None, :, 1] + taller)
    return np.asarray(overlap / np.maximum(union, MIN_SIDE_PX * MIN_SIDE_PX))


def _sides(boxes_xyxy: FloatArray) -> FloatArray:
    return boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
