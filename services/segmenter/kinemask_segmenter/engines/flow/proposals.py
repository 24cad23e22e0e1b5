"""Several masks for one prompt on a single image, with scores to choose by."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from kinemask_segmenter.engines.base import Image, ObjectMask, Prompt
from kinemask_segmenter.engines.flow.follow import Belief, Bools, Window
from kinemask_segmenter.engines.flow.masks import crop, expand
from kinemask_segmenter.engines.flow.pixels import Bytes, Geometry, to_lab
from kinemask_segmenter.engines.flow.prompts import (
    WorkPrompt,
    segment,
    to_work,
)
from kinemask_segmenter.engines.prompting import check_prompts

_LOOSENESS = (1.0, 0.6, 1.6, 0.4, 2.4)
_SAME = 0.95
_FULL_CONTRAST = 40.0
_PREFERENCE = 0.05
"""Score that each step away from the normal looseness costs."""


def propose(
    image: Image, prompts: Sequence[Prompt], candidates: int, geometry: Geometry
) -> list[list[ObjectMask]]:
    """Up to `candidates` different masks for each prompt, best first.

    Raises:
        ValueError: a prompt that cannot be meant or says only where the object is not.
    """
    for prompt in prompts:
        check_prompts([prompt], (), geometry.height, geometry.width)
    lab = to_lab(image, geometry)
    return [_propose_one(lab, prompt, candidates, geometry) for prompt in prompts]


def _propose_one(
    lab: Bytes, prompt: Prompt, candidates: int, geometry: Geometry
) -> list[ObjectMask]:
    work = to_work(prompt, geometry)
    found: list[tuple[float, Bools]] = []
    for rank, mask in enumerate(_tries(lab, work, candidates)):
        if all(_overlap(mask, other) < _SAME for _, other in found):
            score = max(0.05, 0.4 + 0.6 * _edge_contrast(lab, mask) - _PREFERENCE * rank)
            found.append((score, mask))
    found.sort(key=lambda pair: -pair[0])
    return [_expanded(prompt.object_id, mask, score, geometry) for score, mask in found]


def _tries(lab: Bytes, work: WorkPrompt, candidates: int) -> list[Bools]:
    if work.mask is not None:
        return [segment(lab, work, None)]
    return [segment(lab, work, None, loose) for loose in _LOOSENESS[:candidates]]


def _overlap(one: Bools, other: Bools) -> float:
    return float((one & other).sum()) / float((one | other).sum())


def _edge_contrast(lab: Bytes, mask: Bools) -> float:
    """Mean colour step across the contour, 0..1: a true outline mostly lies on an edge."""
    kernel = np.ones((3, 3), np.uint8)
    contour = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0
    if not contour.any():
        return 0.0
    step = cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, kernel)[contour].max(1)
    return min(1.0, float(step.mean()) / _FULL_CONTRAST)


def _expanded(object_id: int, mask: Bools, score: float, geometry: Geometry) -> ObjectMask:
    level = mask.astype(np.uint8) * np.uint8(255)
    whole = Window(0, 0, geometry.work_width, geometry.work_height)
    belief = Belief(level, float(mask.sum()), whole, 0, round(score, 4))
    return expand([crop(object_id, belief)], geometry)[0]
