"""Faces as vectors by SFace and by ArcFace, both on ArcFace's 112-pixel template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemask_faces.engines.base import Embeddings, Image, Landmarks
from kinemask_faces.engines.geometry import ARCFACE_SIDE_PX, ARCFACE_TEMPLATE_XY, cut_upright
from kinemask_faces.engines.onnx_files import OnnxGraph, to_tensor


@dataclass(frozen=True)
class EmbedderKind:
    """What an ONNX embedder expects, and how alike its vectors of one person are."""

    sha256s: tuple[str, ...]
    mean: float
    std: float
    match_threshold: float
    stranger_below: float


SFACE = EmbedderKind(
    # Zhong et al., "SFace: Sigmoid-constrained hypersphere loss", TIP 2021. OpenCV's release
    # (Apache-2.0): RGB in 0..255, which the graph itself brings to -1..1. Threshold: OpenCV's.
    sha256s=("0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",),
    mean=0.0,
    std=1.0,
    match_threshold=0.363,
    stranger_below=0.28,
)
ARCFACE = EmbedderKind(
    # Deng et al., "ArcFace", CVPR 2019; `w600k_r50.onnx` of buffalo_l, non-commercial. RGB in
    # -1..1. Threshold: about one false match in ten thousand for this network.
    sha256s=("4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",),
    mean=127.5,
    std=127.5,
    match_threshold=0.35,
    stranger_below=0.25,
)


class OnnxEmbedder:
    """A `FaceEmbedder` of one ONNX graph. Thread-safe."""

    def __init__(self, graph: OnnxGraph, kind: EmbedderKind) -> None:
        """Runs the graph once, to learn how long its vectors are.

        Raises:
            ValueError: the graph takes pictures of another size.
        """
        if graph.side_px not in (None, ARCFACE_SIDE_PX):
            raise ValueError(
                f"{graph.weights.path}: expected a graph for {ARCFACE_SIDE_PX} px faces, "
                f"found {graph.side_px} px"
            )
        self._graph, self._kind = graph, kind
        grey = np.full((ARCFACE_SIDE_PX, ARCFACE_SIDE_PX, 3), 127, np.uint8)
        self._dimensions = int(self._raw([grey]).shape[1])

    @property
    def revision(self) -> str:
        return self._graph.weights.sha256[:16]

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def notice(self) -> str:
        return "" if self._graph.batches else "the embedder's graph takes one face at a time"

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """See `FaceEmbedder`: `(112, 112, 3)`."""
        return cut_upright(image, landmarks_xy, ARCFACE_TEMPLATE_XY, ARCFACE_SIDE_PX)

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """See `FaceEmbedder`."""
        if not aligned:
            return np.zeros((0, self._dimensions), np.float32)
        return unit_rows(self._raw(aligned))

    def _raw(self, aligned: Sequence[Image]) -> Embeddings:
        outputs = self._graph.run(to_tensor(list(aligned), self._kind.mean, self._kind.std))
        return outputs[self._graph.outputs[0]].reshape(len(aligned), -1)


def unit_rows(vectors: Embeddings) -> Embeddings:
    """Rows of length one; a row of zeros stays what it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
