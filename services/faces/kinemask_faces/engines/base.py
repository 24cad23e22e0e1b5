"""What every face model looks like to the rest of the service.

A model is a detector and an embedder together, because alignment ties them: find the faces of a
picture, cut each out as the embedder wants it, embed the cuts in batches.
Coordinates are pixels of the picture they came from, origin at the top left corner, x to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""`(H, W, 3)` uint8 RGB."""
Landmarks = NDArray[np.float32]
"""`(5, 2)` float32 pixels: the person's right eye, left eye, tip of the nose, right and left corner
of the mouth."""
Embeddings = NDArray[np.float32]
"""`(N, D)` float32, each row L2-normalised."""


@dataclass(frozen=True)
class DetectedFace:
    """One face in a picture."""

    box_xyxy: tuple[float, float, float, float]
    """Inside the picture."""
    score: float
    """Confidence in 0..1 that it is a face."""
    landmarks_xy: Landmarks


@dataclass(frozen=True)
class FaceModelInfo:
    """What ran: named in every reply and stored beside every embedding."""

    name: str
    """The word a client may ask for, such as `dlib` or `yunet-sface`."""
    engine: str
    """The runtime: `dlib` or `onnxruntime`."""
    revision: str
    """SHA-256 of the embedder's weights, first 16 hex digits: other weights, other vectors."""
    dimensions: int
    """Length of an embedding."""
    device: str
    match_threshold: float
    """Least cosine similarity of the same person, -1..1."""
    stranger_below: float
    """A face less similar than this to everybody is a new stranger, -1..1."""
    score_threshold: float
    """Least detection score that counts as a face, 0..1."""
    notice: str = ""
    """What a client should know of it, such as a graph that takes one face at a time."""


class FaceDetector(Protocol):
    """Finds faces. Not thread-safe unless it says so."""

    @property
    def score_threshold(self) -> float:
        """Least score that counts as a face by default, 0..1."""
        ...

    @property
    def notice(self) -> str: ...

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """The faces of each picture, largest first. Pictures may differ in size."""
        ...


class FaceEmbedder(Protocol):
    """Turns faces into vectors. Not thread-safe unless it says so."""

    @property
    def revision(self) -> str:
        """SHA-256 of the weights, first 16 hex digits."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def notice(self) -> str: ...

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """The face cut out and turned upright: a square picture."""
        ...

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """One row a cut of `align`; `(0, D)` for none."""
        ...


class FaceModel(Protocol):
    """One loaded model. Every method blocks; the caller owns the thread."""

    @property
    def info(self) -> FaceModelInfo: ...

    def warm_up(self) -> None:
        """Pay every first-call cost now."""
        ...

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """The faces of each picture, largest first. Pictures may differ in size."""
        ...

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """The face cut out and turned upright as the embedder's own template wants it."""
        ...

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """One row a cut of `align`; `(0, D)` for none. One inference for all."""
        ...

    def close(self) -> None: ...
