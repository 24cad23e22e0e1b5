"""From noisy per-pixel log-odds to a mask that keeps to the image's edges.

The energy is that of interactive graph cuts (Boykov and Jolly, 2001), solved by the max-flow inside
OpenCV's GrabCut: its colour models are frozen, and the first channel of the image it sees carries
our log-odds, so that its data term is ours.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.pixels import Bytes, Floats

_LIMIT = 8.0
"""Log-odds beyond this are certain: such pixels are tied to their side."""
_STEPS = 2.0
"""Grey levels per unit of log-odds; few, because the smoothness term sees them too."""
_DATA_WEIGHT = 8.0
"""Energy of one unit of log-odds; GrabCut's smoothness weight is 50."""
_COMPONENTS = 5


def cut(log_odds: Floats, lab: Bytes) -> NDArray[np.bool_]:
    """The mask of least energy.

    Args:
        log_odds: `(h, w)` evidence for the object.
        lab: `(h, w, 3)` bytes, whose edges the contour is drawn to.
    """
    odds = np.clip(log_odds, -_LIMIT, _LIMIT)
    labels = np.where(odds > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[odds <= -_LIMIT] = cv2.GC_BGD
    labels[odds >= _LIMIT] = cv2.GC_FGD
    if min(labels.shape) < 2 or not (odds > 0).any() or (odds > 0).all():
        return odds > 0
    level = np.rint(128 + odds * _STEPS).astype(np.uint8)
    chroma = cv2.addWeighted(cv2.extractChannel(lab, 1), 1, cv2.extractChannel(lab, 2), 1, -128)
    image = cv2.merge([level, cv2.extractChannel(lab, 0), chroma])
    background, foreground = _model(-1), _model(1)
    cv2.grabCut(
        image,
        labels,
        None,
        background,
        foreground,
        1,
        cv2.GC_EVAL_FREEZE_MODEL,  # type: ignore[call-overload]  # the stubs do not know that the rectangle may be None
    )
    result: NDArray[np.bool_] = (labels & 1) > 0
    return result


def _model(side: int) -> NDArray[np.float64]:
    """A mixture of one Gaussian, so that the two models' log ratio is linear in channel 0."""
    reach = _LIMIT * _STEPS
    # log ratio = 2 * reach * (level - 128) / variance = _DATA_WEIGHT * log-odds
    variance = 2 * reach * _STEPS / _DATA_WEIGHT
    model = np.zeros((1, 13 * _COMPONENTS))
    model[0, 0] = 1.0
    model[0, _COMPONENTS : _COMPONENTS + 3] = 128 + side * reach, 128, 128
    start = 4 * _COMPONENTS
    # The other channels take no part in the data term: their variance is practically endless.
    model[0, start : start + 9] = np.diag([variance, 1e6, 1e6]).ravel()
    return model


def cut_reduced(log_odds: Floats, lab: Bytes, step: int) -> NDArray[np.bool_]:
    """`cut` at one part in `step` of the size (`step` >= 1), brought back to full size."""
    height, width = log_odds.shape
    if step == 1 or min(height, width) < 8 * step:
        return cut(log_odds, lab)
    size = (-(-width // step), -(-height // step))
    odds = cv2.resize(log_odds, size, interpolation=cv2.INTER_AREA)
    reduced = np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = cut(odds.astype(np.float32), reduced)
    back = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return back > 0.5
