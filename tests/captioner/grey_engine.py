"""A captioning engine for tests: says how grey a picture is, counts batches, waits when told to."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from kinemask_captioner.engines.base import (
    BadQueryError,
    Caption,
    CaptionQuery,
    EngineInfo,
    Image,
)

POISON = 13
"""A picture of this grey level makes the model fail on it."""


@dataclass(frozen=True)
class Grey:
    """A picture as this model wants it."""

    level: int
    query: CaptionQuery


class GreyEngine:
    """`grey 90` for a picture whose first pixel is 90; takes no question."""

    def __init__(self, name: str = "greys", size_bytes: int = 1 << 20) -> None:
        self.info = EngineInfo(name, "scripted", "grey", "r1", "cpu", "MIT")
        self.size_bytes = size_bytes
        self.loaded = False
        self.loads = 0
        self.warm = False
        self.prepared = 0
        self.batches: list[list[int]] = []
        """Grey levels of each batch that the model got."""
        self.queries: list[CaptionQuery] = []
        """The query of each batch."""
        self.threads: set[str] = set()
        """Names of the threads that ran it."""
        self.go = threading.Event()
        """The model waits until it is set."""
        self.go.set()

    def load(self) -> None:
        self.loaded = True
        self.loads += 1

    def unload(self) -> None:
        self.loaded = False

    def warm_up(self) -> None:
        self.warm = True

    def check(self, query: CaptionQuery) -> None:
        if query.text.endswith("?"):
            raise BadQueryError("text", f"expected no question, found {query.text!r}")

    def preprocess(self, image: Image, query: CaptionQuery) -> Grey:
        self.prepared += 1
        return Grey(int(image[0, 0, 0]), query)

    def bucket(self, prepared: Grey) -> Hashable:
        return prepared.query

    def infer(self, batch: Sequence[Grey]) -> list[str | Exception]:
        assert self.loaded
        self.batches.append([one.level for one in batch])
        (query,) = {one.query for one in batch}
        self.queries.append(query)
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(60)
        return [
            RuntimeError("secret words about the model")
            if one.level == POISON
            else f"{one.query.text} grey {one.level}".strip()
            for one in batch
        ]

    def postprocess(self, prepared: Grey, raw: str) -> Caption:
        return Caption(raw, len(raw.split()), prepared.query.max_tokens < 2, 0.5)
