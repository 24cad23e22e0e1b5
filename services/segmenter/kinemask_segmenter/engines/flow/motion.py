"""Dense optical flow between neighbouring frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.pixels import Bytes, Floats, Geometry

Halves = NDArray[np.float16]

_SMALLEST_SIDE_PX = 32


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
    """`(h, w)` row, likewise."""

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
        return cls(x, y)

    def usual_shift(self, mask: NDArray[np.bool_]) -> tuple[float, float]:
        """By how many working pixels what lies under a mask `(h, w)` moved; 0 if it is empty."""
        rows, columns = np.nonzero(mask)
        if len(rows) == 0:
            return 0.0, 0.0
        at = rows, columns
        return (
            float(np.median(columns - self.source_x[at])),
            float(np.median(rows - self.source_y[at])),
        )
