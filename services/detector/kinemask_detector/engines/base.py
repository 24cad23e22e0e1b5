"""What every detection engine looks like to the servicer.

A model sits behind three steps, so that only the middle one holds the device:
`preprocess` (any thread) -> `infer` (a batch, the engine's own thread) -> `postprocess` (any
thread). Coordinates are pixels of the original picture, origin at the top left corner.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""`(H, W, 3)` uint8 RGB."""
BoxXyxy = tuple[float, float, float, float]

PreparedT = TypeVar("PreparedT")
RawT = TypeVar("RawT")


@dataclass(frozen=True)
class DetectRequest:
    """One picture and what to look for in it."""

    image: Image
    prompts: tuple[str, ...] = ()
    """Words, all answered in one pass. Empty: everything a model of fixed classes knows."""
    classes: tuple[str, ...] = ()
    """Keep only these labels, for models of fixed classes. Empty: all."""
    score_threshold: float | None = None
    """0..1; None: the engine's own."""
    top_k: int = 100
    """Detections at most, best first: at least 1."""
    overlap_threshold: float | None = None
    """Of two detections of one label with a larger IoU the better stays; None: the engine's own."""


@dataclass(frozen=True)
class Detection:
    """One thing in one picture."""

    box_xyxy: BoxXyxy
    """Inside the picture."""
    score: float
    """0..1."""
    label: str
    """What the model calls it."""
    prompt: str
    """The prompt it answers, as it was sent; empty if there were none."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is, and what a reply names."""

    name: str
    """The word a client may ask for, such as `classic`."""
    model: str
    revision: str
    """The weights' pinned revision; `builtin` where there are none."""
    device: str
    license: str
    """An SPDX id where there is one."""
    classes: tuple[str, ...] | None
    """What it can find; None for open vocabularies."""
    score_threshold: float
    """What holds where a request names none: 0..1."""
    overlap_threshold: float
    """The same for the IoU."""
    max_batch: int = 8
    """Pictures worth giving to `infer` at once; 1 where a batch is no faster than its pictures."""
    engine: str = ""
    """What runs the model, such as `transformers`; empty: the engine bears the model's name."""


class UnknownPromptError(ValueError):
    """Prompts or classes that an engine cannot look for."""

    def __init__(
        self, unknown: Sequence[str], known: Sequence[str], field: str = "prompts"
    ) -> None:
        """`field` says where they stood: `prompts` or `classes`."""
        self.unknown = tuple(unknown)
        self.known = tuple(known)
        self.field = field
        super().__init__(f"expected {field} among {', '.join(known)}; found {list(unknown)}")


class BadPromptError(ValueError):
    """Prompts that an engine cannot read, whatever the picture."""

    def __init__(self, message: str, index: int | None = None) -> None:
        """`message` says what was expected and found; `index` which prompt, None: all of them."""
        self.index = index
        super().__init__(message)


@runtime_checkable
class Specialist(Protocol):
    """An engine that finds some things better than any general model."""

    def is_best_for(self, prompts: Sequence[str]) -> bool:
        """Whether `auto` should take it for just these prompts; cheap, any thread."""
        ...


class DetectorEngine(Protocol[PreparedT, RawT]):
    """One model. Only `infer` and `warm_up` are kept to one thread.

    An engine that is also a `Loadable` (see the chassis) shares the memory for models with others:
    it is loaded before `infer` and may be unloaded after.
    """

    @property
    def info(self) -> EngineInfo: ...

    def warm_up(self) -> None:
        """Load what is to be loaded and pay every first-call cost. Blocking."""
        ...

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        """Refuse what this engine cannot look for. Any thread; may read a tokenizer's files.

        Raises:
            UnknownPromptError: names what it can find.
            BadPromptError: no prompts, empty ones or too many, where the engine needs words.
        """
        ...

    def preprocess(self, request: DetectRequest) -> PreparedT:
        """Resize, convert, tokenise: whatever `infer` and `postprocess` need. Any thread.

        Called after `check`. The result should not hold on to the original picture.
        """
        ...

    def bucket(self, prepared: PreparedT) -> Hashable:
        """Pictures of one bucket may share a batch, such as those of one tensor shape."""
        ...

    def infer(self, batch: Sequence[PreparedT]) -> Sequence[RawT | Exception]:
        """One result or exception for each picture, in order; at most `info.max_batch`."""
        ...

    def postprocess(self, prepared: PreparedT, raw: RawT) -> list[Detection]:
        """Thresholds, overlap and top-k applied, best first. Any thread."""
        ...

    def close(self) -> None:
        """Free what the engine holds. Idempotent."""
        ...
