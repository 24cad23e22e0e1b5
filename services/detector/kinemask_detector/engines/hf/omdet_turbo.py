"""OmDet-Turbo: Zhao et al., "Real-time Transformer-based Open-Vocabulary Detection with Efficient
Fusion Head", 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from kinemask_detector.engines.base import BadPromptError
from kinemask_detector.engines.hf.zero_shot import Words, ZeroShotDetector

_INPUTS = ("input_ids", "attention_mask")


class OmDetTurbo(ZeroShotDetector):
    """Each prompt is a class, all of them together the task; the model remembers both by itself."""

    score_threshold = 0.3
    overlap_threshold = 0.5
    several_labels = True

    def _check_length(self, words: Words) -> None:
        longest = self._longest()
        with self.tokenizing:
            ids = self._tokenizer()(list(words))["input_ids"]
        for word, tokens in zip(words, ids, strict=True):
            if len(tokens) > longest:
                raise BadPromptError(
                    f"expected at most {longest} tokens a prompt, found {len(tokens)} in {word!r}"
                )

    def _run(self, model: Any, pixels: Mapping[str, torch.Tensor], asked: list[Words]) -> Any:
        words, count = asked[0], len(asked)
        inputs = {
            **self._tokens("classes", words, count),
            **self._tokens("tasks", [_task(words)], count),
            "classes_structure": torch.tensor([len(words)] * count),
        }
        output = model(pixel_values=pixels["pixel_values"], **inputs)
        return output.decoder_coord_logits, output.decoder_class_logits.sigmoid()

    def _tokens(self, name: str, texts: Sequence[str], count: int) -> dict[str, torch.Tensor]:
        """Those of the texts, `count` times: `(count * len(texts), N)` each."""
        with self.tokenizing:
            made = self._tokenizer()(
                list(texts),
                padding="max_length",
                truncation=True,  # of the task: it was trained on lists of classes that are cut
                max_length=self._longest(),
                return_tensors="pt",
            )
        device = self.pretrained.device
        return {f"{name}_{key}": made[key].to(device).repeat(count, 1) for key in _INPUTS}

    def _tokenizer(self) -> Any:
        return self.pretrained.read(transformers.AutoTokenizer)

    def _longest(self) -> int:
        config = self.pretrained.config.text_config
        return int(config.max_position_embeddings)


def _task(words: Words) -> str:
    """What the model is told to do, in the words it was trained with."""
    return f"Detect {', '.join(words)}."
