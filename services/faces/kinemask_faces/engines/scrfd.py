"""Faces by SCRFD.

Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022. The
released weights (`det_10g.onnx` of InsightFace's buffalo_l) are for non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.looks import WHOLE, Candidates, Look, Placed, faces_of, paint
from kinemask_faces.engines.onnx_files import OnnxGraph, Tensor, to_tensor

SCRFD_SHA256S = ("5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",)
_STRIDES_PX = (8, 16, 32)
_ANCHORS = 2
_SIDE_PX = 640
# Faces over about 40% of the frame are missed at 640; at 160 they are of a size that it knows.
_SMALL_SIDE_PX = 160
_SMALL: tuple[Look, ...] = (Look(0.0, 1.0, 0.25, 0.0),)
_FLOOR = 0.02


class Scrfd:
    """A `FaceDetector`: each picture once at full and once at small size.

    The released graph gives its candidates without an axis for the batch, so pictures go one by
    one.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        """Raises ValueError if the graph has not the nine outputs of the model with landmarks."""
        if len(graph.outputs) != 3 * len(_STRIDES_PX):
            raise ValueError(
                f"{graph.weights.path}: expected 9 outputs (scores, boxes and landmarks of three "
                f"strides), found {len(graph.outputs)}"
            )
        self._graph = graph

    @property
    def score_threshold(self) -> float:
        return 0.5

    @property
    def notice(self) -> str:
        return "the detector's graph takes one picture at a time"

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """See `FaceDetector`."""
        return [self._detect(image, score_threshold) for image in images]

    def _detect(self, image: Image, score_threshold: float) -> list[DetectedFace]:
        found: list[Candidates] = []
        placed: list[list[Placed]] = []
        full = self._graph.side_px or _SIDE_PX
        small = self._graph.side_px or _SMALL_SIDE_PX
        for side_px, looks in ((full, WHOLE), (small, _SMALL)):
            canvas, places = paint(image, side_px, looks)
            # RGB, roughly -1..1: how it was trained.
            outputs = self._graph.run(to_tensor([canvas], 127.5, 128.0))
            found.append(_candidates([outputs[name] for name in self._graph.outputs], side_px))
            placed.append(places)
        return faces_of(found, placed, (image.shape[0], image.shape[1]), score_threshold)


def _candidates(outputs: list[Tensor], side_px: int) -> Candidates:
    """The outputs are the scores of the three strides, then their boxes, then their landmarks."""
    levels = [
        _level(outputs[k], outputs[k + 3], outputs[k + 6], stride, side_px)
        for k, stride in enumerate(_STRIDES_PX)
    ]
    boxes, scores, landmarks = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    return Candidates(boxes, scores, landmarks).where(scores > _FLOOR)


def _level(
    scores: Tensor, distances: Tensor, offsets: Tensor, stride: int, side_px: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One stride's candidates: `(K, 4)`, `(K,)` and `(K, 5, 2)`; two anchors a cell."""
    cells = side_px // stride
    rows, columns = np.divmod(np.repeat(np.arange(cells * cells), _ANCHORS), cells)
    anchor = np.stack([columns, rows], axis=1) * stride  # (K, 2), x before y
    reach = distances.reshape(-1, 4) * stride  # to the left, top, right and bottom
    corners = np.concatenate([anchor - reach[:, :2], anchor + reach[:, 2:]], axis=1)
    landmarks = anchor[:, None] + offsets.reshape(-1, 5, 2) * stride
    return corners, scores.reshape(-1), landmarks
