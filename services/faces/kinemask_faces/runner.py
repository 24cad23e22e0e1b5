"""One face model with its thread and its batches, shared by all requests and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kinemask_chassis.batching import BatchOptions, DynamicBatcher
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.metrics import QueueMetrics
from numpy.typing import NDArray

from kinemask_faces.engines.base import DetectedFace, FaceModel, Image, Landmarks

Vector = NDArray[np.float32]
"""`(D,)` float32, L2-normalised."""


@dataclass(frozen=True)
class Looked:
    """What the detector said of one picture."""

    faces: list[DetectedFace]
    """Largest first."""
    infer_s: float
    """How long its batch took."""


@dataclass(frozen=True)
class Embedded:
    """One face as the model sees it."""

    cut: Image
    """Upright and square, `(S, S, 3)`."""
    vector: Vector
    infer_s: float
    """How long its batch took."""


@dataclass(frozen=True)
class _ToFind:
    image: Image
    score_threshold: float


@dataclass(frozen=True)
class _ToEmbed:
    image: Image
    landmarks_xy: Landmarks


class ModelRunner:
    """Pictures of all requests go through the detector together, and so do all their faces."""

    def __init__(
        self, model: FaceModel, options: BatchOptions, metrics: QueueMetrics | None = None
    ) -> None:
        self.model = model
        self._device = DeviceThread(f"faces-{model.info.name}")
        self._finder: DynamicBatcher[_ToFind, Looked] = DynamicBatcher(
            self._find_batch, options, bucket=lambda item: item.score_threshold, metrics=metrics
        )
        self._embedder: DynamicBatcher[_ToEmbed, Embedded] = DynamicBatcher(
            self._embed_batch, options
        )

    async def warm_up(self) -> None:
        """Pay the model's first-call costs, in its thread."""
        await self._device.run(self.model.warm_up)

    async def close(self) -> None:
        """Refuse what waits, end what runs, free the model."""
        await self._finder.close()
        await self._embedder.close()
        await self._device.close()
        self.model.close()

    async def find(self, image: Image, score_threshold: float | None = None) -> Looked:
        """The faces of a picture; by the model's own threshold if none is given.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED (queue full), DEADLINE_EXCEEDED, UNAVAILABLE.
        """
        least = self.model.info.score_threshold if score_threshold is None else score_threshold
        return await self._finder.submit(_ToFind(image, least))

    async def embed(self, image: Image, faces: Sequence[DetectedFace]) -> list[Embedded]:
        """The faces of a picture as vectors, in order, in a batch with those of others.

        Raises:
            ServiceError: as for `find`.
            ValueError: a face whose landmarks are all one point.
        """
        items = [_ToEmbed(image, face.landmarks_xy) for face in faces]
        return list(await asyncio.gather(*(self._embedder.submit(item) for item in items)))

    async def _find_batch(self, batch: Sequence[_ToFind]) -> Sequence[Looked | Exception]:
        begun_s = time.monotonic()
        images = [item.image for item in batch]
        found = await self._device.run(self.model.detect, images, batch[0].score_threshold)
        took_s = time.monotonic() - begun_s
        return [Looked(faces, took_s) for faces in found]

    async def _embed_batch(self, batch: Sequence[_ToEmbed]) -> Sequence[Embedded | Exception]:
        begun_s = time.monotonic()
        cuts, vectors = await self._device.run(self._cut_and_embed, batch)
        took_s = time.monotonic() - begun_s
        return [Embedded(cut, vector, took_s) for cut, vector in zip(cuts, vectors, strict=True)]

    def _cut_and_embed(self, batch: Sequence[_ToEmbed]) -> tuple[list[Image], Vector]:
        # In the model's thread: nothing says that a model's `align` may run beside its `embed`.
        cuts = [self.model.align(item.image, item.landmarks_xy) for item in batch]
        return cuts, self.model.embed(cuts)
