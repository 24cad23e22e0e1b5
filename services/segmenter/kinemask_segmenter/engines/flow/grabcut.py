"""GrabCut (Rother et al., 2004) on a small crop, the same for the same picture every time."""

from __future__ import annotations

import cv2
import numpy as np

from kinemask_segmenter.engines.flow.follow import Bools
from kinemask_segmenter.engines.flow.pixels import Bytes

_CROP_SIDE_PX = 160
_ROUNDS = 4
_FEWEST_PIXELS = 10
"""On each side, for five colours of it."""
_RNG_SEED = 7


def grab_cut(lab: Bytes, labels: Bytes, margin: float) -> Bools:
    """`(h, w)` mask from `cv2.GC_` labels, on a crop around all that is not certain background.

    `margin`: how much more of the picture is looked at, as part of the crop's longer side.
    """
    rows, columns = np.nonzero(labels != cv2.GC_BGD)
    if len(rows) == 0:
        return np.zeros(labels.shape, np.bool_)
    pad = int(margin * max(np.ptp(rows) + 1, np.ptp(columns) + 1)) + 2
    crop = (
        slice(max(0, int(rows.min()) - pad), int(rows.max()) + pad + 1),
        slice(max(0, int(columns.min()) - pad), int(columns.max()) + pad + 1),
    )
    mask = np.zeros(labels.shape, np.bool_)
    mask[crop] = _on_crop(np.ascontiguousarray(lab[crop]), labels[crop].copy())
    return mask


def _on_crop(lab: Bytes, labels: Bytes) -> Bools:
    height, width = labels.shape
    scale = min(1.0, _CROP_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    tags = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    fore, back = (tags & 1) > 0, (tags & 1) == 0
    if min(size) < 2 or min(fore.sum(), back.sum()) < _FEWEST_PIXELS:
        return (labels & 1) > 0
    cv2.setRNGSeed(_RNG_SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, tags, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]  # the stubs do not know that the rectangle may be None
    mask = ((tags & 1) > 0).astype(np.float32)
    back = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(back > 0.5, np.bool_)
