"""What all detectors on transformers share: loading, batches of equal pictures, choosing boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
import transformers
from kinemask_chassis.weights.checkpoints import Checkpoint
from kinemask_chassis.weights.pretrained import Pretrained

from kinemask_detector.engines.base import Detection, DetectRequest, EngineInfo, Image
from kinemask_detector.engines.picking import Question, Scored, pick

AskedT = TypeVar("AskedT", bound=Hashable)

# A picture's shape does not always tell which of its sides are the colours: 3x3 pixels, say.
_LAYOUT = {"input_data_format": "channels_last"}
_MOST_OBLONG = 32


@dataclass(frozen=True)
class Prepared(Generic[AskedT]):
    """A picture as the model wants it."""

    pixels: Mapping[str, torch.Tensor]
    """`pixel_values` `(1, 3, h, w)`, and `pixel_mask` where some of it is padding; on the CPU."""
    asked: AskedT
    """What the model is asked besides: a family's own."""
    question: Question
    """What is wanted of its scores."""

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return tuple((name, tuple(tensor.shape)) for name, tensor in self.pixels.items())


class TransformersDetector(ABC, Generic[AskedT]):
    """One checkpoint; a subclass is an architecture. A `Loadable`.

    Invariant: `infer` runs only between `load` and `unload`.
    """

    auto_model: ClassVar[Any]
    """Which of transformers' `AutoModelFor...`."""
    score_threshold: ClassVar[float] = 0.5
    overlap_threshold: ClassVar[float] = 0.7
    several_labels: ClassVar[bool] = False
    """See `Question`."""
    square: ClassVar[bool] = False
    """See `Question`."""
    max_batch: ClassVar[int] = 8

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        """`device`: auto takes CUDA where there is some.

        Raises:
            ValueError, OSError: its files are damaged.
        """
        self.pretrained = Pretrained(checkpoint, self.auto_model, device)
        self.info = EngineInfo(
            name=checkpoint.name,
            model=checkpoint.name,
            revision=checkpoint.revision,
            device=str(self.pretrained.device),
            license=checkpoint.license,
            classes=self._classes(),
            score_threshold=self.score_threshold,
            overlap_threshold=self.overlap_threshold,
            max_batch=self.max_batch,
            engine="transformers",
        )

    # --- what a family says

    @abstractmethod
    def _classes(self) -> tuple[str, ...] | None:
        """What it can find; None for any words."""

    @abstractmethod
    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        """See `DetectorEngine`."""

    @abstractmethod
    def _ask(self, request: DetectRequest) -> tuple[AskedT, Question]:
        """What the model is asked, and what is wanted of the scores."""

    @abstractmethod
    def _run(self, model: Any, pixels: Mapping[str, torch.Tensor], asked: list[AskedT]) -> Any:
        """`(boxes (B, Q, 4), scores: B of (Q, C))` on the device; the boxes as in `Scored`."""

    def _prepare(self, model: Any) -> None:
        """Change a model that was just loaded."""
        return

    def _bucket(self, asked: AskedT) -> Hashable:
        """Questions of one bucket may be answered in one pass."""
        return asked

    # --- DetectorEngine and Loadable

    @property
    def loaded(self) -> bool:
        return self.pretrained.loaded

    @property
    def size_bytes(self) -> int:
        return self.pretrained.size_bytes

    def load(self) -> None:
        self.pretrained.load(self._prepare)

    def unload(self) -> None:
        self.pretrained.unload()

    def warm_up(self) -> None:
        prompts = () if self.info.classes else ("thing",)
        self.infer([self.preprocess(DetectRequest(np.zeros((64, 64, 3), np.uint8), prompts))])

    def preprocess(self, request: DetectRequest) -> Prepared[AskedT]:
        asked, question = self._ask(request)
        return Prepared(self._pixels(request.image), asked, question)

    def bucket(self, prepared: Prepared[AskedT]) -> Hashable:
        # Equal shapes, so that nothing is padded.
        return self._bucket(prepared.asked), prepared.shapes

    def infer(self, batch: Sequence[Prepared[AskedT]]) -> list[Scored | Exception]:
        model, names = self.pretrained.model, batch[0].pixels
        pixels = {name: self._stacked([one.pixels[name] for one in batch]) for name in names}
        with torch.inference_mode():
            boxes, scores = self._run(model, pixels, [one.asked for one in batch])
            return [
                Scored(some.float().cpu().numpy(), of_each.float().cpu().numpy())
                for some, of_each in zip(boxes, scores, strict=True)
            ]

    def postprocess(self, prepared: Prepared[AskedT], raw: Scored) -> list[Detection]:
        return pick(raw, prepared.question)

    def close(self) -> None:
        self.unload()

    # --- for families

    def _question(
        self,
        request: DetectRequest,
        labels: tuple[str, ...],
        prompts: tuple[str, ...],
        wanted: np.ndarray[Any, np.dtype[np.bool_]],
    ) -> Question:
        """The request's thresholds, or the model's own."""
        score, overlap = request.score_threshold, request.overlap_threshold
        return Question(
            height=request.image.shape[0],
            width=request.image.shape[1],
            labels=labels,
            prompts=prompts,
            wanted=wanted,
            score_threshold=self.score_threshold if score is None else score,
            overlap_threshold=self.overlap_threshold if overlap is None else overlap,
            top_k=request.top_k,
            several_labels=self.several_labels,
            square=self.square,
        )

    def _pixels(self, image: Image) -> dict[str, torch.Tensor]:
        processor = self.pretrained.read(transformers.AutoImageProcessor)
        seen = image if self.square else _less_oblong(image)
        if not seen.flags.writeable:
            seen = seen.copy()  # torch warns of memory that it could not write to
        made = dict(processor(images=seen, return_tensors="pt", **_LAYOUT))
        if "pixel_mask" in made and bool(made["pixel_mask"].all()):
            del made["pixel_mask"]  # nothing is padding
        return made

    def _stacked(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """`(B, ...)` on the device."""
        return self.pretrained.on_device(torch.cat(tensors))


def _less_oblong(image: Image) -> Image:
    """A strip's rows or columns repeated, or nothing would be left of it when it is shrunk.

    Boxes are shares of the picture, so they stay right.
    """
    height, width = image.shape[:2]
    least = -(-max(height, width) // _MOST_OBLONG)
    axis = 0 if height < width else 1
    times = -(-least // image.shape[axis])
    return image if times <= 1 else np.repeat(image, times, axis)
