"""A detector and an embedder made one `FaceModel`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask_faces.engines.base import (
    DetectedFace,
    Embeddings,
    FaceDetector,
    FaceEmbedder,
    FaceModelInfo,
    Image,
    Landmarks,
)

_WARM_UP_HW = (360, 640)


class ComposedModel:
    """A `FaceModel`: what finds the faces and what embeds them. Not thread-safe."""

    def __init__(
        self,
        name: str,
        engine: str,
        device: str,
        detector: FaceDetector,
        embedder: FaceEmbedder,
        *,
        match_threshold: float,
        stranger_below: float,
    ) -> None:
        self._detector, self._embedder = detector, embedder
        self._info = FaceModelInfo(
            name=name,
            engine=engine,
            revision=embedder.revision,
            dimensions=embedder.dimensions,
            device=device,
            match_threshold=match_threshold,
            stranger_below=stranger_below,
            score_threshold=detector.score_threshold,
            notice="; ".join(part for part in (detector.notice, embedder.notice) if part),
        )

    @property
    def info(self) -> FaceModelInfo:
        return self._info

    def warm_up(self) -> None:
        """See `FaceModel`."""
        grey = np.full((*_WARM_UP_HW, 3), 127, np.uint8)
        self.detect([grey], self._info.score_threshold)
        eyes_nose_mouth = np.array(
            [[280, 150], [360, 150], [320, 195], [290, 230], [350, 230]], np.float32
        )
        self.embed([self.align(grey, eyes_nose_mouth)])

    def detect(self, images: Sequence[Image], score_threshold: float) -> list[list[DetectedFace]]:
        """See `FaceModel`."""
        return self._detector.detect(images, score_threshold)

    def align(self, image: Image, landmarks_xy: Landmarks) -> Image:
        """See `FaceModel`."""
        return self._embedder.align(image, landmarks_xy)

    def embed(self, aligned: Sequence[Image]) -> Embeddings:
        """See `FaceModel`."""
        return self._embedder.embed(aligned)

    def close(self) -> None:
        """Nothing is held that Python does not free."""
