"""The convex hull of a mask, and of what comes in over the frame's border.

What a notch in a mask leaves out is more often a part of the object than something behind it. At
the border a hull is drawn as if the mask went on there like its mirror image: an object that is
half in the picture has no corner there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]
_BORDER_PX = 2


def hull(mask: BoolMask) -> BoolMask:
    """`(H, W)` bool: the mask, and everything between any two of its points."""
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return mask
    points = np.concatenate(found).reshape(-1, 2).astype(np.int32)
    corners = cv2.convexHull(np.concatenate([points, *_mirrored(points, mask.shape[::-1])]))
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, corners, 1)
    return filled.view(np.bool_) | mask


def _mirrored(points: NDArray[np.int32], size: tuple[int, ...]) -> list[NDArray[np.int32]]:
    """`(N, 2)` xy points beyond each border that the mask touches; `size`: width and height."""
    beyond = []
    for axis, length in enumerate(size):
        for border in (0, length - 1):
            if np.abs(points[:, axis] - border).min() <= _BORDER_PX:
                image = points.copy()
                image[:, axis] = 2 * border - image[:, axis]
                beyond.append(image)
    return beyond
