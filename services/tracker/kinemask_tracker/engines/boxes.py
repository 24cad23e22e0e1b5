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
    a, b = first_xyxy[:, None, :], second_xyxy[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    np.maximum(sides, 0.0, out=sides)
    overlap: FloatArray = sides[..., 0] * sides[..., 1]
    union = areas(first_xyxy)[:, None] + areas(second_xyxy)[None, :] - overlap
    return np.asarray(overlap / np.maximum(union, MIN_SIDE_PX * MIN_SIDE_PX))


def areas(boxes_xyxy: FloatArray) -> FloatArray:
    """`(N, 4)` -> `(N,)` areas in square pixels."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
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
    a, b, grown = first_xyxy[:, None, :], second_xyxy[None, :, :], 2 * margin_px[:, None, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + grown
    np.maximum(sides, 0.0, out=sides)
    overlap: FloatArray = sides[..., 0] * sides[..., 1]
    size_a, size_b = a[..., 2:] - a[..., :2] + grown, b[..., 2:] - b[..., :2] + grown
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - overlap
    return np.asarray(overlap / np.maximum(union, MIN_SIDE_PX * MIN_SIDE_PX))
