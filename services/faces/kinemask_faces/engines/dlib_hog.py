"""Faces by dlib's HOG detector: frontal ones only, kept to compare with.

Felzenszwalb-style HOG and King, "Max-Margin Object Detection", 2015; built into dlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.dlib_embedder import five_point_weights

_UPSAMPLE = 1
"""Doublings of the picture: faces from about 40 px; none would mean 80 px."""
_SCORE_AT_FULL = 2.0
"""dlib's scores are distances to a plane: 0 is on it, 2 is a clear face."""


class DlibHog:
    """A `FaceDetector`. Not thread-safe."""

    def __init__(self) -> None:
        """Raises FileNotFoundError or WrongWeightsError: the landmarks' file."""
        import dlib

        self._find = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(five_point_weights().path))

    @property
    def score_threshold(self) -> float:
        return 0.0

    @property
    def notice(self) -> str:
        return "dlib's HOG detector sees frontal faces only"

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """See `FaceDetector`. Corners of the mouth are an estimate: dlib's five points have none.

        The score is dlib's own, over 2 and clipped to 0..1.
        """
        return [self._detect(np.ascontiguousarray(image), score_threshold) for image in images]

    def _detect(self, image: Image, score_threshold: float) -> list[DetectedFace]:
        boxes, scores, _ = self._find.run(image, _UPSAMPLE, 0.0)
        pairs = zip(boxes, scores, strict=True)
        faces = [self._face(image, box, score / _SCORE_AT_FULL) for box, score in pairs]
        good = [face for face in faces if face.score >= score_threshold]
        return sorted(good, key=lambda face: -_side(face))

    def _face(self, image: Image, box: Any, score: float) -> DetectedFace:
        shape = self._predictor(image, box)
        points = np.array([(shape.part(k).x, shape.part(k).y) for k in range(5)], np.float32)
        height, width = image.shape[:2]
        corners = np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1], float)
        left, top, right, bottom = np.clip(corners, 0, [width, height, width, height]).tolist()
        return DetectedFace((left, top, right, bottom), min(max(score, 0.0), 1.0), _five(points))


def _five(points: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Our five of dlib's: the left eye's corners, the right eye's, the base of the nose."""
    left, right, nose = points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
    across, middle = left - right, (left + right) / 2
    # The mouth lies about as far below the nose as 0.4 of the way from the eyes to the nose.
    mouth = nose + 0.4 * (nose - middle)
    # The tip of the nose lies above its base.
    tip = middle + 0.8 * (nose - middle)
    return np.stack([right, left, tip, mouth - 0.42 * across, mouth + 0.42 * across])


def _side(face: DetectedFace) -> float:
    return face.box_xyxy[2] - face.box_xyxy[0]
