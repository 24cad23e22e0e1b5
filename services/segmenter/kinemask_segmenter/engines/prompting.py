"""What is true of prompts whatever the engine: which are refused, and how two become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from kinemask_segmenter.engines.base import Image, Prompt


def check_prompt(prompt: Prompt, height: int, width: int) -> None:
    """Refuse what cannot be meant.

    Raises:
        ValueError: says what was expected and what came.
    """
    if prompt.object_id < 1:
        raise ValueError(f"expected a positive object id, got {prompt.object_id}")
    points, positive = prompt.points_xy, prompt.positive
    if points.ndim != 2 or points.shape[1:] != (2,) or positive.shape != points.shape[:1]:
        raise ValueError(
            "expected points (N, 2) with N labels, "
            f"got points {points.shape} with labels {positive.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("expected finite points, got one that is not")
    if prompt.box_xyxy is not None:
        _check_box(prompt.box_xyxy)
    if prompt.mask is not None and prompt.mask.shape != (height, width):
        raise ValueError(f"expected a mask of shape {(height, width)}, got {prompt.mask.shape}")
    if prompt.mask is not None and not prompt.mask.any():
        raise ValueError("expected a mask with at least one pixel, got an empty one")
    if not len(points) and prompt.box_xyxy is None and prompt.mask is None:
        raise ValueError("expected points, a box or a mask, got none of them")


def _check_box(box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    if not (np.isfinite(box).all() and x0 < x1 and y0 < y1):
        raise ValueError(f"expected a box with x_min < x_max and y_min < y_max, got {box}")


def starts_an_object(prompt: Prompt) -> bool:
    """Whether the prompt says where an object is, not only where it is not."""
    return bool(prompt.positive.any()) or prompt.box_xyxy is not None or prompt.mask is not None


def merge_prompts(earlier: Prompt, later: Prompt) -> Prompt:
    """Points of both; the later box or mask replaces what stood before."""
    joined = replace(
        later,
        points_xy=np.concatenate([earlier.points_xy, later.points_xy]),
        positive=np.concatenate([earlier.positive, later.positive]),
    )
    if later.box_xyxy is None and later.mask is None:
        return replace(joined, box_xyxy=earlier.box_xyxy, mask=earlier.mask)
    return joined


def check_prompts(
    prompts: Sequence[Prompt], known_ids: Iterable[int], height: int, width: int
) -> None:
    """Refuse what cannot be meant, and a new object that nothing says the place of.

    Raises:
        ValueError: says what was expected and what came.
    """
    known = set(known_ids)
    for prompt in prompts:
        check_prompt(prompt, height, width)
        if prompt.object_id not in known and not starts_an_object(prompt):
            raise ValueError(
                f"expected a positive point, a box or a mask for the new object "
                f"{prompt.object_id}, got negative points only"
            )
        known.add(prompt.object_id)


def check_image(image: Image, height: int, width: int) -> None:
    """Raises ValueError unless `image` is RGB bytes of the stream's size."""
    expected = (height, width, 3)
    if image.shape != expected or image.dtype != np.uint8:
        raise ValueError(
            f"expected an image of shape {expected} and type uint8, "
            f"got {image.shape} and {image.dtype}"
        )
