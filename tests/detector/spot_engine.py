"""A detection engine for tests: finds a bright spot, counts its batches, waits when told to."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from kinemask_detector.engines.base import (
    Detection,
    DetectRequest,
    EngineInfo,
    Image,
    UnknownPromptError,
)

KNOWN = ("spot", "dot", "ball")
POISON_RGB = (255, 0, 0)
"""A picture with this colour in its corner makes the model fail on it."""


@dataclass(frozen=True)
class SpotPrepared:
    """The whole request: nothing here is large."""

    request: DetectRequest


class SpotEngine:
    """Gives every prompt the box of the pixels over 128."""

    def __init__(self, name: str = "spots", max_batch: int = 4) -> None:
        self.info = EngineInfo(
            name=name,
            model="bright",
            revision="r1",
            device="cpu",
            license="MIT",
            classes=KNOWN,
            score_threshold=0.25,
            overlap_threshold=0.5,
            max_batch=max_batch,
        )
        self.batches: list[int] = []
        """Sizes of the batches that the model got."""
        self.threads: set[str] = set()
        """Names of the threads that ran it."""
        self.warm = False
        self.closed = False
        self.prepared = 0
        self.go = threading.Event()
        """The model waits until it is set."""
        self.go.set()

    def warm_up(self) -> None:
        self.warm = True

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        for field, words in (("prompts", prompts), ("classes", classes)):
            if unknown := [word for word in words if word not in KNOWN]:
                raise UnknownPromptError(unknown, KNOWN, field)

    def preprocess(self, request: DetectRequest) -> SpotPrepared:
        self.prepared += 1
        return SpotPrepared(request)

    def bucket(self, prepared: SpotPrepared) -> Hashable:
        return prepared.request.image.shape

    def infer(self, batch: Sequence[SpotPrepared]) -> list[Image | Exception]:
        self.batches.append(len(batch))
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(60)
        return [_bright(prepared.request.image) for prepared in batch]

    def postprocess(self, prepared: SpotPrepared, raw: Image) -> list[Detection]:
        rows, columns = np.nonzero(raw)
        if not len(rows):
            return []
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        x_min, y_min, x_max, y_max = (float(edge) for edge in edges)
        box = (x_min, y_min, x_max, y_max)
        return [Detection(box, 0.9, word, word) for word in prepared.request.prompts]

    def close(self) -> None:
        self.closed = True
        self.go.set()


def _bright(image: Image) -> Image | Exception:
    # JPEG keeps a flat corner's colour to within a few levels.
    if np.abs(image[0, 0].astype(int) - POISON_RGB).max() < 16:
        return RuntimeError("secret words about the model")
    bright: Image = (image[..., 1] > 128).astype(np.uint8)
    return bright
