"""What every captioning engine looks like to the servicer.

A model sits behind three steps, so that only the middle one holds the device:
`preprocess` (any thread) -> `infer` (a batch, the device's thread) -> `postprocess` (any thread).
Its weights come and go with `load` and `unload`, in the device's thread too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""`(H, W, 3)` uint8 RGB."""

PreparedT = TypeVar("PreparedT")
RawT = TypeVar("RawT")


@dataclass(frozen=True)
class CaptionQuery:
    """How to describe, without a picture."""

    beams: int = 1
    """Of the search: 1 is greedy."""
    max_tokens: int = 40
    """Most tokens of a caption: at least 1."""
    min_tokens: int = 0
    """Fewest tokens of a caption: not more than `max_tokens`."""
    text: str = ""
    """How the caption begins, a question or a task word; empty: the model's own."""


@dataclass(frozen=True)
class Caption:
    """The words for one picture."""

    text: str
    """Without what the query's text gave."""
    tokens: int
    """Tokens made, without those that only mark the end."""
    truncated: bool
    """True if it ended because `max_tokens` were reached."""
    score: float | None
    """Mean probability of its tokens: 0..1; None where the model does not say."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is, and what a reply names."""

    name: str
    """The word a client may ask for, such as `blip-image-captioning-base`."""
    engine: str
    """What runs it, such as `transformers`."""
    model: str
    """The model's kind, such as `blip`."""
    revision: str
    """The weights' pinned revision."""
    device: str
    license: str
    """An SPDX id; empty where it is not known."""


class BadQueryError(ValueError):
    """A query that an engine cannot answer whatever the picture."""

    def __init__(self, field: str, message: str) -> None:
        """`field` is that of `CaptionOptions`, such as `text`."""
        self.field = field
        super().__init__(message)


class CaptionEngine(Protocol[PreparedT, RawT]):
    """One model. `load`, `unload`, `warm_up` and `infer` are kept to one thread."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def loaded(self) -> bool: ...

    @property
    def size_bytes(self) -> int:
        """Memory that the weights take once they are loaded; an estimate before."""
        ...

    def load(self) -> None:
        """Bring the weights to the device. Blocking; nothing to do if they are there."""
        ...

    def unload(self) -> None:
        """Let the weights go. Idempotent."""
        ...

    def warm_up(self) -> None:
        """Pay first-call costs of a loaded model. Blocking."""
        ...

    def check(self, query: CaptionQuery) -> None:
        """Refuse what this model cannot do. Any thread; may read the tokenizer's files.

        Raises:
            BadQueryError: names the field and what was expected.
        """
        ...

    def preprocess(self, image: Image, query: CaptionQuery) -> PreparedT:
        """Resize, normalise, tokenise. Any thread; called after `check`.

        The result should not hold on to the original picture.
        """
        ...

    def bucket(self, prepared: PreparedT) -> Hashable:
        """Pictures of one bucket may share a batch without changing each other's captions."""
        ...

    def infer(self, batch: Sequence[PreparedT]) -> Sequence[RawT | Exception]:
        """One result or exception for each picture of one bucket, in order."""
        ...

    def postprocess(self, prepared: PreparedT, raw: RawT) -> Caption:
        """Tokens to words. Any thread."""
        ...
