"""Single pictures: the embedding is kept, so that a second click costs a decoder pass only.

The arithmetic is the official `SAM2ImagePredictor`'s, at any input size.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sam2.utils.transforms import SAM2Transforms
from torch.nn.functional import interpolate

from kinemask_segmenter.engines.base import Image, ImageMasks, ObjectMask, Prompt
from kinemask_segmenter.engines.sam2.forward import Points
from kinemask_segmenter.engines.sam2.pixels import measured, to_points

_MASK_LOGIT = 10.0
"""A mask prompt's certainty, as the video predictor has it."""


@dataclass(frozen=True)
class Embedding:
    """What the encoder made of one picture."""

    image: torch.Tensor
    """`(1, 256, S/16, S/16)`."""
    fine: list[torch.Tensor]
    """`(1, 32, S/4, S/4)` and `(1, 64, S/8, S/8)`."""


class PictureSegmenter:
    """Invariant: at most `capacity` embeddings are kept, the latest used. One thread at a time."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[int, bytes], Embedding] = OrderedDict()

    def segment(
        self, model: Any, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        """Up to `candidates` masks a prompt, best first."""
        embedding, cached = self.embed(model, image)
        found = [_segment(model, embedding, image, prompt, candidates) for prompt in prompts]
        return ImageMasks(found, cached)

    def embed(self, model: Any, image: Image) -> tuple[Embedding, bool]:
        """The picture's embedding, and whether it was still there."""
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        key = (int(model.image_size), digest)
        kept = self._kept.pop(key, None)
        embedding = kept or _embed(model, image)
        self._kept[key] = embedding
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return embedding, kept is not None

    def clear(self) -> None:
        self._kept.clear()


@torch.inference_mode()
def _embed(model: Any, image: Image) -> Embedding:
    pixels = SAM2Transforms(model.image_size, 0.0)(image)[None].to(model.device)
    _, features, _, sizes = model._prepare_backbone_features(model.forward_image(pixels))
    if model.directly_add_no_mem_embed:
        features[-1] = features[-1] + model.no_mem_embed
    maps = [
        each.permute(1, 2, 0).view(1, -1, *size) for each, size in zip(features, sizes, strict=True)
    ]
    return Embedding(maps[-1], maps[:-1])


@torch.inference_mode()
def decode(
    model: Any,
    embedding: Embedding,
    points: Points | None,
    mask_logits: torch.Tensor | None,
    several: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(B, C, S/4, S/4)` and the model's rating of each mask `(B, C)`.

    Args:
        points: B prompts of N clicks each; a box is its corners.
        several: C = 3 masks of different reach, for a prompt that may mean several things.
    """
    given = None if points is None else (points.xy, points.labels)
    sparse, dense = model.sam_prompt_encoder(points=given, boxes=None, masks=mask_logits)
    logits, ratings, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding.image,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=several,
        repeat_image=points is not None and points.xy.shape[0] > 1,
        high_res_features=embedding.fine,
    )
    return logits, ratings


def _segment(
    model: Any, embedding: Embedding, image: Image, prompt: Prompt, candidates: int
) -> list[ObjectMask]:
    height, width = image.shape[:2]
    points = None
    if len(prompt.points_xy) or prompt.box_xyxy is not None:
        points = to_points(prompt, height, width, model.image_size).to(model.device)
    mask = None if prompt.mask is None else _mask_logits(prompt, model)
    # A single click may mean a part, a thing or a group: then the best rated of three is taken.
    ambiguous = mask is None and prompt.box_xyxy is None and len(prompt.points_xy) == 1
    logits, ratings = decode(model, embedding, points, mask, candidates > 1 or ambiguous)
    order = torch.argsort(ratings[0], descending=True, stable=True)[:candidates]
    best = interpolate(
        logits[0, order].float()[None], (height, width), mode="bilinear", align_corners=False
    )
    return [
        measured(prompt.object_id, (mask_logits > 0).cpu().numpy(), _rating(rating))
        for mask_logits, rating in zip(best[0], ratings[0, order], strict=True)
    ]


def _rating(rating: torch.Tensor) -> float:
    """The model rates by regression; 0..1 is what it means."""
    return min(1.0, max(0.0, float(rating.item())))


def _mask_logits(prompt: Prompt, model: Any) -> torch.Tensor:
    """A mask prompt as the `(1, 1, S/4, S/4)` logits that the prompt encoder takes."""
    whole = torch.from_numpy(prompt.mask)[None, None].float()
    side = model.image_size // 4
    small = interpolate(whole, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return ((small * 2 - 1) * _MASK_LOGIT).to(model.device)
