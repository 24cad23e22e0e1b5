"""A faces service whose pictures are numbers: as many different faces as a benchmark wants.

`python -m benchmarks.numbered_faces` serves it. A picture shows the 64 bits of a number as eight by
eight squares; its vector is a random one by that number.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import cv2
import numpy as np
from kinemask.v1 import faces_pb2
from kinemask_chassis.launch import run
from kinemask_chassis.logs import configure_logging
from kinemask_chassis.settings import load_settings
from kinemask_faces.engines.base import (
    DetectedFace,
    Embeddings,
    FaceModelInfo,
    Image,
    Landmarks,
)
from kinemask_faces.engines.registry import FaceModels
from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings

MODEL = "numbers"
DIMENSIONS = 64
_SQUARES, _SQUARE_PX, _MARGIN_PX = 8, 10, 60
_SIDE_PX = _SQUARES * _SQUARE_PX
_WHOLE_PX = _SIDE_PX + 2 * _MARGIN_PX
_MARKS = np.array([[20, 25], [60, 25], [40, 42], [24, 60], [56, 60]], np.float32) + _MARGIN_PX
_INFO = FaceModelInfo(MODEL, "made", "0" * 16, DIMENSIONS, "cpu", 0.9, 0.5, 0.5)


def picture(number: int) -> Image:
    """`(200, 200, 3)` uint8 RGB."""
    bits = np.unpackbits(np.frombuffer(number.to_bytes(8, "big"), np.uint8)).reshape(8, 8)
    squares = np.kron(bits * 200 + 25, np.ones((_SQUARE_PX, _SQUARE_PX), np.uint8))
    whole = np.full((_WHOLE_PX, _WHOLE_PX), 128, np.uint8)
    whole[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX] = squares
    return np.repeat(whole[:, :, None], 3, axis=2)


def source(number: int) -> faces_pb2.FaceSource:
    """The picture as a face."""
    _, png = cv2.imencode(".png", picture(number))
    made = faces_pb2.FaceSource()
    made.image.encoded = png.tobytes()
    return made


class NumberModel:
    """A `FaceModel`."""

    def __init__(self) -> None:
        self.info = _INFO

    def warm_up(self) -> None:
        """Nothing to do."""

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """One face in the middle of each."""
        edge = float(_MARGIN_PX + _SIDE_PX)
        face = DetectedFace((float(_MARGIN_PX),) * 2 + (edge,) * 2, 0.9, _MARKS)
        return [[face] for _ in images]

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """The squares, a pixel each."""
        half = _SQUARE_PX // 2
        inside = image[_MARGIN_PX + half : -_MARGIN_PX, _MARGIN_PX + half : -_MARGIN_PX]
        return np.ascontiguousarray(inside[::_SQUARE_PX, ::_SQUARE_PX])

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """A random vector by each number."""
        rows = []
        for cut in aligned:
            number = int.from_bytes(np.packbits(cut[:, :, 0] > 128).tobytes(), "big")
            rows.append(np.random.default_rng(number).normal(size=DIMENSIONS))
        made = np.array(rows, np.float32).reshape(-1, DIMENSIONS)
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)

    def close(self) -> None:
        """Nothing is held."""


def main() -> int:
    """Serve until a signal."""
    settings = load_settings(FacesSettings)
    configure_logging("faces", settings.log_level, settings.log_format)
    return run(FacesService(settings, FaceModels({MODEL: NumberModel()}, ())))


if __name__ == "__main__":
    sys.exit(main())
