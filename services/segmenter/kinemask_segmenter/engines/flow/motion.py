"""Dense optical flow between neighbouring frames, and what can be told from it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.pixels import Bytes, Floats, Geometry

Halves = NDArray[np.float16]

_SMALLEST_SIDE_PX = 32
_FIT_POINTS = 1200
_FLOOR = 0.02


def backward_flow(now: Bytes, before: Bytes) -> Halves:
    """Where each pixel of `now` was in `before`: `(fh, fw, 2)` x and y shifts in flow pixels.

    DIS flow, fast preset (Kroeger et al., 2016). Half precision, because the field is stored for
    late prompts and both ways must give the same masks.
    """
    if min(now.shape) < _SMALLEST_SIDE_PX:
        return _tiny_flow(now, before)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(now, before, None)  # type: ignore[call-overload]  # the stubs do not know that None is allowed
    return np.asarray(np.clip(flow, -4000, 4000), np.float16)


def _tiny_flow(now: Bytes, before: Bytes) -> Halves:
    """One shift for the whole image: DIS needs more pixels than this for its pyramid."""
    shift = np.zeros(2)
    if min(now.shape) >= 4 and now.std() > 0 and before.std() > 0:
        shift = np.array(cv2.phaseCorrelate(now.astype(np.float64), before.astype(np.float64))[0])
    return np.broadcast_to(shift.astype(np.float16), (*now.shape, 2)).copy()


@dataclass(frozen=True)
class Motion:
    """Flow of one frame, brought to the working size once and shared by all objects."""

    source_x: Floats
    """`(h, w)` column on the previous frame that each working pixel came from."""
    source_y: Floats
    field: Floats
    """`(fh, fw, 2)` the flow itself, in flow pixels."""

    @classmethod
    def of(cls, flow: Halves, geometry: Geometry) -> Motion:
        """Upsample `flow` and turn it into a map for `cv2.remap`."""
        height, width = geometry.work_height, geometry.work_width
        field = flow.astype(np.float32)
        large = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        x = large[..., 0] * np.float32(width / geometry.flow_width)
        y = large[..., 1] * np.float32(height / geometry.flow_height)
        x += np.arange(width, dtype=np.float32)
        y += np.arange(height, dtype=np.float32)[:, None]
        # What came from outside continues the border, so objects that enter are not cut off.
        np.clip(x, 0, width - 1, out=x)
        np.clip(y, 0, height - 1, out=y)
        return cls(x, y, field)


def motion_log_odds(field: Floats, mask: Floats, sigma_px: float) -> Floats | None:
    """How much better the object's motion explains each pixel than its surroundings' motion.

    Both motions are affine, fitted by iteratively reweighted least squares.

    Args:
        field: `(fh, fw, 2)` flow.
        mask: `(fh, fw)` expected mask in 0..1 at the same size.
        sigma_px: spread of the residuals.

    Returns:
        `(fh, fw)` log-odds scaled by how well they separate `mask` from what is around it, or
        None where the object or its surroundings are too small.
    """
    inside = cv2.erode((mask > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8))
    near = cv2.dilate((mask > 0.3).astype(np.uint8), np.ones((41, 41), np.uint8))
    around = (near > 0) & (cv2.dilate((mask > 0.3).astype(np.uint8), np.ones((7, 7))) == 0)
    own, other = _fit_affine(field, inside > 0), _fit_affine(field, around)
    if own is None or other is None:
        return None
    odds = _log_likelihood(field, own, sigma_px) - _log_likelihood(field, other, sigma_px)
    right = 0.5 * float((odds[inside > 0] > 0).mean() + (odds[around] < 0).mean())
    trust = max(0.0, 2 * right - 1) ** 2
    return (odds * np.float32(trust)).astype(np.float32, copy=False)


def _fit_affine(field: Floats, where: NDArray[np.bool_]) -> Floats | None:
    rows, columns = np.nonzero(where)
    if len(rows) < 40:
        return None
    every = max(1, len(rows) // _FIT_POINTS)
    rows, columns = rows[::every], columns[::every]
    a = np.stack([np.ones_like(rows), columns / field.shape[1], rows / field.shape[0]], 1)
    target, weight = field[rows, columns].astype(np.float64), np.ones(len(rows))
    model = np.zeros((3, 2))
    for _ in range(4):
        weighted = a * weight[:, None]
        model = np.linalg.solve(weighted.T @ a + 1e-3 * np.eye(3), weighted.T @ target)
        residual = np.linalg.norm(target - a @ model, axis=1)
        weight = 1 / (1 + (residual / 0.5) ** 2)
    return model.astype(np.float32)


def _log_likelihood(field: Floats, model: Floats, sigma_px: float) -> Floats:
    height, width = field.shape[:2]
    x = np.arange(width, dtype=np.float32) / np.float32(width)
    y = (np.arange(height, dtype=np.float32) / np.float32(height))[:, None]
    square = np.zeros((height, width), np.float32)
    for axis in (0, 1):
        error = field[..., axis] - (model[0, axis] + model[1, axis] * x + model[2, axis] * y)
        square += error * error
    result: Floats = np.log(_FLOOR + np.exp(square * np.float32(-0.5 / sigma_px**2)))
    return result
