"""Grounding DINO: Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for
Open-Set Object Detection", ECCV 2024; and MM Grounding DINO, which LLMDet (Fu et al., "LLMDet:
Learning Strong Open-Vocabulary Object Detectors under the Supervision of Large Language Models",
CVPR 2025) is trained from.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from kinemask_detector.engines.base import BadPromptError
from kinemask_detector.engines.hf.zero_shot import Words, ZeroShotDetector

_REMEMBERED = 64
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# The model's own marks between phrases.
_SEPARATORS = re.compile(r"[.?]+")


@dataclass(frozen=True)
class _Text:
    """All prompts in one text."""

    inputs: Mapping[str, torch.Tensor]
    """Each `(1, N)`."""
    spans: tuple[list[int], ...]
    """Which tokens are those of each prompt."""


class GroundingDino(ZeroShotDetector):
    """All prompts are one text of phrases, `a cat. a dog.`; a box is scored for each token of it.

    A box answers the prompt that has its best token, and that is its score. What the text encoder
    makes of a text is remembered while the model is loaded; words and picture meet after it.
    """

    score_threshold = 0.25
    max_batch = 4

    def _prepare(self, model: Any) -> None:
        encoder = model.model.text_backbone
        encoder.forward = _Remembering(encoder.forward)

    def _read(self, prompt: str) -> str:
        return " ".join(_SEPARATORS.sub(" ", prompt.lower()).split())

    def _check_length(self, words: Words) -> None:
        text = self._text(words)
        longest = int(self.pretrained.config.max_text_len)
        found = text.inputs["input_ids"].shape[1]
        if found > longest:
            raise BadPromptError(
                f"expected at most {longest} tokens in all prompts together, found {found}"
            )
        for word, span in zip(words, text.spans, strict=True):
            if not span:
                raise BadPromptError(f"expected words, found {word!r}")

    def _run(self, model: Any, pixels: Mapping[str, torch.Tensor], asked: list[Words]) -> Any:
        text = self._text(asked[0])
        inputs = {
            name: tensor.to(self.pretrained.device).expand(len(asked), -1)
            for name, tensor in text.inputs.items()
        }
        output = model(**pixels, **inputs)
        best = [output.logits[..., span].amax(-1) for span in text.spans]  # C of (B, Q)
        return output.pred_boxes, torch.stack(best, dim=-1).sigmoid()

    def _text(self, words: Words) -> _Text:
        with self.tokenizing:
            made = self.pretrained.read(transformers.AutoTokenizer)(
                "".join(f"{word}. " for word in words).strip(),
                return_offsets_mapping=True,
                return_token_type_ids=True,
                return_tensors="pt",
            )
        spans, begin = [], 0
        offsets = made["offset_mapping"][0].tolist()
        for word in words:
            end = begin + len(word)
            spans.append([i for i, (low, high) in enumerate(offsets) if begin <= low < high <= end])
            begin = end + len(". ")
        return _Text({name: made[name] for name in _INPUTS}, tuple(spans))


class _Remembering:
    """A text encoder's `forward` that knows its last answers. All rows of a batch are one text."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self._known: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, input_ids: torch.Tensor, *others: torch.Tensor, **settings: Any) -> Any:
        key = tuple(input_ids[0].tolist())
        if key not in self._known:
            first = [tensor[:1] for tensor in others]
            output = self._forward(input_ids[:1], *first, **settings)
            self._known[key] = output.last_hidden_state
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        states = self._known[key].expand(len(input_ids), -1, -1)  # (B, N, D)
        return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)
