"""Boxes that overlap, and faces turned upright."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_faces.engines.base import Image, Landmarks

Floats = NDArray[np.float64]

# Where the 112-pixel ArcFace cut has the five landmarks (InsightFace, Deng et al., CVPR 2019);
# SFace was trained on the same.
ARCFACE_SIDE_PX = 112
ARCFACE_TEMPLATE_XY: Floats = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)


def similarity(source_xy: Floats, target_xy: Floats) -> Floats:
    """The turn, scale and shift, `(2, 3)`, that takes `(N, 2)` points nearest to `(N, 2)` others.

    Least squares without a mirror image: Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", PAMI 1991, which in the plane is one complex number.

    Raises:
        ValueError: the source's points are all the same, or not finite.
    """
    start, goal = source_xy.mean(axis=0), target_xy.mean(axis=0)
    spread = (source_xy - start) @ np.array([1, 1j])
    wanted = (target_xy - goal) @ np.array([1, 1j])
    size = float(np.sum(np.abs(spread) ** 2))
    if not np.isfinite(size) or size < 1e-6:
        raise ValueError(f"expected landmarks that differ, got {source_xy.tolist()}")
    turn = np.sum(np.conj(spread) * wanted) / size
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, goal - linear @ start])


def cut_upright(image: Image, landmarks_xy: Landmarks, template_xy: Floats, side_px: int) -> Image:
    """The `(side_px, side_px, 3)` picture in which the landmarks lie where the template says."""
    matrix = similarity(landmarks_xy.astype(np.float64), template_xy)
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.5:
        # Bilinear sampling would skip pixels: first make the picture as small as is needed.
        factor = 2.0 * scale
        size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
        shrink = np.array(size) / image.shape[1::-1]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = similarity(landmarks_xy * shrink, template_xy)
    cut = cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR)
    return np.asarray(cut, np.uint8)


def overlaps(box: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Of `(4,)` with `(N, 4)`: IoU, and intersection over the smaller area; each `(N,)` in 0..1."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    area = float(np.prod(box[2:] - box[:2]))
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    tiny = np.finfo(np.float64).tiny
    whole = np.maximum(area + areas - shared, tiny)
    return shared / whole, shared / np.maximum(np.minimum(area, areas), tiny)


def suppress(boxes: Floats, scores: Floats, max_iou: float, max_inside: float) -> NDArray[np.intp]:
    """Indices of what greedy non-maximum suppression keeps, best first.

    A box goes if a better one overlaps it by an IoU over `max_iou`, or if more than `max_inside`
    of the smaller of the two lies inside the other.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        iou, inside = overlaps(boxes[best], boxes[left])
        left = left[(iou <= max_iou) & (inside <= max_inside)]
    return np.array(kept, np.intp)
