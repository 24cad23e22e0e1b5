"""Standing people by histograms of oriented gradients.

OpenCV's default people detector (Dalal and Triggs, "Histograms of oriented gradients for human
detection", CVPR 2005): a linear SVM over 64x128 windows in which a person is 96 px tall.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_detector.engines.boxes import Floats, clusters

Image = NDArray[np.uint8]

MIN_PERSON_PX = 96
"""Height of the smallest person that is found."""
_WINDOW_PX = (64, 128)
_STRIDE_PX = 8
_PADDING_PX = 16
_SCALE_STEP = 1.05
_LEAST_MARGIN = -0.1
"""Windows on the wrong side of the SVM's plane still support a neighbour."""
_MIN_IOU = 0.5

# Share of a window that is left of, and above, the person it was trained on.
_INSET_X, _INSET_Y = 0.14, 0.08

# Score: logistic in the best margin and the log of how many windows agree. Set by
# eye on real clips: one window at margin 0.6, or eight at 0.2, is as often wrong as right.
_BIAS, _MARGIN_WEIGHT, _SUPPORT_WEIGHT = -2.8, 3.5, 0.9


class PeopleFinder:
    """Holds the HOG descriptor. Not thread-safe."""

    def __init__(self) -> None:
        self._hog = cv2.HOGDescriptor()
        people = np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32)
        self._hog.setSVMDetector(people)

    def find(self, image: Image) -> tuple[Floats, Floats]:
        """People in an `(H, W, 3)` uint8 RGB picture.

        In colour, because the detector was trained on the strongest gradient of the channels.

        Returns `(N, 4)` xyxy boxes around the body (they may reach over the edge) and `(N,)` scores
        in 0..1, without a threshold and not yet freed of overlaps.
        """
        windows, margins = self._windows(image)
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        for group in clusters(windows, _MIN_IOU):
            # A group's members are weighted by margin: the weakest hardly move the box.
            weights = margins[group] - _LEAST_MARGIN + 1e-3
            boxes.append(np.average(windows[group], axis=0, weights=weights)[None])
            scores.append(np.array([_score(float(margins[group].max()), len(group))]))
        return _without_border(np.vstack(boxes)), np.concatenate(scores)

    def _windows(self, image: Image) -> tuple[Floats, Floats]:
        """Every window over the least margin, best first: `(N, 4)` xyxy and `(N,)`."""
        found, margins = self._hog.detectMultiScale(
            _at_least_a_window(image),
            hitThreshold=_LEAST_MARGIN,
            winStride=(_STRIDE_PX, _STRIDE_PX),
            padding=(_PADDING_PX, _PADDING_PX),
            scale=_SCALE_STEP,
            groupThreshold=0,
        )
        windows = np.array(found, np.float64).reshape(-1, 4)
        windows[:, 2:] += windows[:, :2]
        values = np.array(margins, np.float64).reshape(-1)
        order = np.argsort(-values, kind="stable")
        return windows[order], values[order]


def _at_least_a_window(image: Image) -> Image:
    """Grown to the right and below where needed: OpenCV writes out of bounds on smaller ones."""
    height, width = image.shape[:2]
    down, right = max(0, _WINDOW_PX[1] - height), max(0, _WINDOW_PX[0] - width)
    if not down and not right:
        return image
    grown = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(grown, np.uint8)


def _without_border(windows: Floats) -> Floats:
    """The bodies inside detection windows, which have a border around them."""
    width = windows[:, 2] - windows[:, 0]
    height = windows[:, 3] - windows[:, 1]
    x, y = _INSET_X * width, _INSET_Y * height
    return windows + np.stack([x, y, -x, -y], axis=1)


def _score(margin: float, support: int) -> float:
    """0..1; a larger margin or more support never makes it less."""
    evidence = _BIAS + _MARGIN_WEIGHT * margin + _SUPPORT_WEIGHT * np.log1p(support)
    return float(1 / (1 + np.exp(-evidence)))
