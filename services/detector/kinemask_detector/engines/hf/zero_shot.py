"""What detectors of any words share: their prompts are the labels."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import transformers
from kinemask_chassis.weights.checkpoints import Checkpoint

from kinemask_detector.engines.base import BadPromptError, DetectRequest, UnknownPromptError
from kinemask_detector.engines.hf.detector import TransformersDetector
from kinemask_detector.engines.picking import Question

Words = tuple[str, ...]
"""Prompts as the model reads them, each once."""


class ZeroShotDetector(TransformersDetector[Words]):
    """Finds what words name. Prompts that read the same are one, told by the first of them."""

    auto_model = transformers.AutoModelForZeroShotObjectDetection

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        super().__init__(checkpoint, device)
        # A tokenizer's Rust half can be borrowed once at a time.
        self.tokenizing = threading.Lock()

    @abstractmethod
    def _check_length(self, words: Words) -> None:
        """Refuse what is longer than the model reads.

        Raises:
            BadPromptError: says how long it is and may be.
        """

    def _read(self, prompt: str) -> str:
        """A prompt as the model reads it; empty if nothing is left of it."""
        return " ".join(prompt.split())

    def _classes(self) -> None:
        return None

    def check(self, prompts: Sequence[str], classes: Sequence[str]) -> None:
        if not prompts:
            raise BadPromptError(f"expected words for what {self.info.name} is to find, found none")
        for index, prompt in enumerate(prompts):
            if not self._read(prompt):
                raise BadPromptError(f"expected words, found {prompt!r}", index)
        words = self._words(prompts)
        unknown = [name for name in classes if self._read(name) not in words]
        if unknown:
            raise UnknownPromptError(unknown, tuple(prompts), "classes")
        self._check_length(words)

    def _ask(self, request: DetectRequest) -> tuple[Words, Question]:
        words = self._words(request.prompts)
        first: dict[str, str] = {}
        for prompt in request.prompts:
            first.setdefault(self._read(prompt), prompt)
        kept = {self._read(name) for name in request.classes} or set(words)
        wanted = np.array([word in kept for word in words], np.bool_)
        told = tuple(first[word] for word in words)
        return words, self._question(request, words, told, wanted)

    def _words(self, prompts: Sequence[str]) -> Words:
        return tuple(dict.fromkeys(self._read(prompt) for prompt in prompts))
