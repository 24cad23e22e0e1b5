"""Detectors of fixed classes: everything that transformers loads as `AutoModelForObjectDetection`.

DETR: Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020. RT-DETR v2: Lv et
al., "RT-DETRv2: Improved Baseline with Bag-of-Freebies", 2024. D-FINE: Peng et al., "D-FINE:
Redefine Regression Task in DETRs as Fine-grained Distribution Refinement", ICLR 2025.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from kinemask_chassis.weights.checkpoints import Checkpoint

from kinemask_detector.engines.base import DetectRequest, UnknownPromptError
from kinemask_detector.engines.hf.detector import TransformersDetector
from kinemask_detector.engines.labels import Vocabulary
from kinemask_detector.engines.picking import Question

_NO_LABEL = "N/A"  # COCO's numbers have gaps, and DETR has a place for each


class ClosedSetDetector(TransformersDetector[None]):
    """Words are looked up in the model's labels; without words it tells all it finds."""

    auto_model = transformers.AutoModelForObjectDetection

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        super().__init__(checkpoint, device)
        self._columns = self._read_labels()
        self._vocabulary = Vocabulary(label for label in self._columns if label != _NO_LABEL)

    @abstractmethod
    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        """`(B, Q, C)`: 0..1, of the model's labels alone."""

    def _classes(self) -> tuple[str, ...]:
        return tuple(label for label in self._read_labels() if label != _NO_LABEL)

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        for field, words in (("prompts", prompts), ("classes", classes)):
            unknown = [word for word in words if self._vocabulary.find(word) is None]
            if unknown:
                raise UnknownPromptError(unknown, self._vocabulary.labels, field)

    def _ask(self, request: DetectRequest) -> tuple[None, Question]:
        prompt_of: dict[str | None, str] = {}
        for prompt in request.prompts:
            prompt_of.setdefault(self._vocabulary.find(prompt), prompt)
        only = {self._vocabulary.find(word) for word in request.classes or self._vocabulary.labels}
        if request.prompts:
            only &= prompt_of.keys()
        wanted = np.array([label in only and label != _NO_LABEL for label in self._columns])
        prompts = tuple(prompt_of.get(label, "") for label in self._columns)
        return None, self._question(request, self._columns, prompts, wanted)

    def _run(self, model: Any, pixels: Mapping[str, torch.Tensor], asked: list[None]) -> Any:
        output = model(**pixels)
        return output.pred_boxes, self._scores(output.logits)

    def _read_labels(self) -> tuple[str, ...]:
        names = self.pretrained.config.id2label
        return tuple(str(names[index]) for index in range(len(names)))


class SoftmaxDetector(ClosedSetDetector):
    """A place is one thing or none: DETR, Table Transformer, YOLOS."""

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(-1)[..., :-1]  # the last is "nothing"


class FocalDetector(ClosedSetDetector):
    """Each label is scored by itself: RT-DETR and v2, D-FINE, Deformable DETR and their like."""

    several_labels = True

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid()
