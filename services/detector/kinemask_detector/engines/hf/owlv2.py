"""OWLv2: Minderer, Gritsenko and Houlsby, "Scaling Open-Vocabulary Object Detection", NeurIPS 2023.

Also OWL-ViT, which differs in how pictures are prepared alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import transformers

from kinemask_detector.engines.base import BadPromptError, Image
from kinemask_detector.engines.hf.zero_shot import Words, ZeroShotDetector

_REMEMBERED = 1024
_PATCHES_DIMS = (1, 2)
_LARGEST = 2
"""Sides of the model's own picture size."""


class OwlVit(ZeroShotDetector):
    """A picture's features do not depend on the words: requests with other words share a batch.

    Each prompt is embedded once and remembered while the model is loaded.
    """

    score_threshold = 0.1
    overlap_threshold = 0.5

    def _prepare(self, model: Any) -> None:
        self._embeddings: OrderedDict[str, torch.Tensor] = OrderedDict()

    def unload(self) -> None:
        super().unload()
        self._embeddings = OrderedDict()

    def _bucket(self, asked: Words) -> Hashable:
        return None

    def _check_length(self, words: Words) -> None:
        longest = int(self._text_config().max_position_embeddings)
        with self.tokenizing:
            ids = self._tokenizer()(list(words))["input_ids"]
        for word, tokens in zip(words, ids, strict=True):
            if len(tokens) > longest:
                raise BadPromptError(
                    f"expected at most {longest} tokens a prompt, found {len(tokens)} in {word!r}"
                )

    def _run(self, model: Any, pixels: Mapping[str, torch.Tensor], asked: list[Words]) -> Any:
        feature_map = model.image_embedder(pixel_values=pixels["pixel_values"])[0]
        features = feature_map.flatten(*_PATCHES_DIMS)  # (B, h, w, D) -> (B, Q, D)
        boxes = model.box_predictor(features, feature_map)
        scores = []
        for words, of_picture in zip(asked, features.split(1), strict=True):
            queries = self._embedded(model, words)[None]  # (1, C, D)
            logits = model.class_predictor(of_picture, queries)[0]  # (1, Q, C)
            scores.append(logits[0].sigmoid())
        return boxes, scores

    def _embedded(self, model: Any, words: Words) -> torch.Tensor:
        """`(C, D)`, of length 1 each."""
        new = [word for word in words if word not in self._embeddings]
        if new:
            self._embeddings.update(zip(new, self._embed(model, new), strict=True))
        for word in words:
            self._embeddings.move_to_end(word)
        found = torch.stack([self._embeddings[word] for word in words])
        while len(self._embeddings) > _REMEMBERED:
            self._embeddings.popitem(last=False)
        return found

    def _embed(self, model: Any, words: Sequence[str]) -> torch.Tensor:
        longest = int(self._text_config().max_position_embeddings)
        with self.tokenizing:
            made = self._tokenizer()(
                list(words), padding="max_length", max_length=longest, return_tensors="pt"
            )
        inputs = {
            name: made[name].to(self.pretrained.device) for name in ("input_ids", "attention_mask")
        }
        inner = getattr(model, model.base_model_prefix)
        embedded: torch.Tensor = inner.get_text_features(**inputs).pooler_output
        return embedded / torch.linalg.norm(embedded, ord=2, dim=-1, keepdim=True)

    def _tokenizer(self) -> Any:
        return self.pretrained.read(transformers.AutoTokenizer)

    def _text_config(self) -> Any:
        return self.pretrained.config.text_config


class Owlv2(OwlVit):
    """Its pictures are padded to a square.

    transformers blurs before it shrinks, in a time that grows with the fourth power of the size (an
    8K picture takes minutes), so much larger pictures are shrunk by area averaging first.
    """

    square = True

    def _pixels(self, image: Image) -> dict[str, torch.Tensor]:
        size = self.pretrained.read(transformers.AutoImageProcessor).size
        most = _LARGEST * max(size["height"], size["width"])
        longest = max(image.shape[:2])
        if longest > most:
            sides = [max(1, round(side * most / longest)) for side in image.shape[1::-1]]
            image = np.asarray(cv2.resize(image, sides, interpolation=cv2.INTER_AREA), np.uint8)
        return super()._pixels(image)
