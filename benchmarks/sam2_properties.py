"""What ours promises beyond the official predictor, as figures: see `sam2_parity`'s flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import torch
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy
from kinemask_segmenter.engines.sam2.forward import Points

from benchmarks import sam2_models
from benchmarks.sam2_models import Follower

Masks = list[dict[int, torch.Tensor]]
_CORRECTED = 20


def independence(model: Any, images: torch.Tensor) -> dict[str, float]:
    """Largest change of an object's masks when another is added, prompted, corrected, removed."""
    alone = _followed(model, images, {})
    among = _followed(
        model,
        images,
        {
            5: lambda each: each.prompt(5, 2, _click(model, 0.7, 0.3)),
            10: lambda each: each.prompt(10, 3, _click(model, 0.3, 0.8)),
            15: lambda each: each.prompt(15, 2, _click(model, 0.6, 0.6, positive=False)),
            22: lambda each: each.remove(2),
        },
    )
    return {"max_abs_diff": _worst(alone, among)}


def late_prompt(model: Any, images: torch.Tensor) -> dict[str, float]:
    """Largest difference between prompting k frames late and prompting on time, by k."""
    return {str(late): _late(model, images, late) for late in (1, 2, 3)}


def correction(model: Any, images: torch.Tensor) -> dict[str, float]:
    """How much a click on frame 20 still changes the masks 5 frames later, ours and official."""
    ours = _worst_at(
        _followed(model, images, {}),
        _followed(
            model,
            images,
            {_CORRECTED: lambda each: each.prompt(_CORRECTED, 1, _negative(model))},
        ),
        _CORRECTED + 5,
    )
    theirs = float((_official(model, images, True) - _official(model, images, False)).abs().max())
    return {"ours_changed": ours, "official_changed": theirs}


def propagation(model: Any, images: torch.Tensor) -> dict[str, float]:
    """Largest difference from the official predictor on retained frames gone over once more."""
    back, click = _walked_back(model, images)
    between = _walked_between(model, images)
    return {"back": back, "click_on_the_way_back": click, "between_prompts": between}


PROPERTIES: Mapping[str, Callable[[Any, torch.Tensor], dict[str, float]]] = {
    "independence": independence,
    "late_prompt": late_prompt,
    "correction": correction,
    "propagation": propagation,
}


def _followed(
    model: Any, images: torch.Tensor, doing: Mapping[int, Callable[[Follower], object]]
) -> Masks:
    """Object 1 from frame 0 on; `doing` is done after a frame was tracked."""
    sam2_models.show_objects(model, True)
    follower = Follower(model, CoreConfig())
    shown: Masks = []
    for index, image in enumerate(images):
        follower.add_frame(image)
        if index == 0:
            follower.prompt(0, 1, _click(model, 0.4, 0.5))
        shown.append(follower.track(index))
        if index in doing:
            doing[index](follower)
    return shown


def _late(model: Any, images: torch.Tensor, late: int) -> float:
    on_time = _followed(model, images, {20: lambda f: f.prompt(20, 2, _click(model, 0.7, 0.3))})
    behind = _followed(
        model, images, {20 + late: lambda f: f.prompt(20, 2, _click(model, 0.7, 0.3))}
    )
    after = range(21 + late, len(images))
    return max(
        float((on_time[n][key] - behind[n][key]).abs().max()) for n in after for key in (1, 2)
    )


def _walked_back(model: Any, images: torch.Tensor) -> tuple[float, float]:
    """From a prompt on the last frame to the first; then a click on a frame on the way."""
    last, clicked = len(images) - 1, len(images) // 2
    state = sam2_models.official_state(model, images)
    model.add_new_points_or_box(state, last, 1, points=_place(model, 0.4, 0.5), labels=[1])
    walked = [each for _, _, each in model.propagate_in_video(state, last, reverse=True)]
    place = _place(model, 0.6, 0.6)
    _, _, refined = model.add_new_points_or_box(state, clicked, 1, points=place, labels=[0])
    mine = _keeping_all(model, images, MemoryPolicy.OFFICIAL)
    for image in images:
        mine.add_frame(image)
    mine.prompt(last, 1, _click(model, 0.4, 0.5))
    back = mine.walk(range(last, -1, -1))
    again = mine.prompt(clicked, 1, _negative(model))
    return (
        max(_apart(one[1], other) for one, other in zip(back, walked, strict=True)),
        _apart(again, refined),
    )


def _walked_between(model: Any, images: torch.Tensor) -> float:
    """Forwards over tracked frames once a later one was corrected, between the two prompts."""
    start = 3
    state = sam2_models.official_state(model, images)
    model.add_new_points_or_box(state, 0, 1, points=_place(model, 0.4, 0.5), labels=[1])
    for _ in model.propagate_in_video(state):
        pass
    place, count = _place(model, 0.6, 0.6), _CORRECTED - start
    with mock.patch.object(model, "add_all_frames_to_correct_as_cond", True):
        model.add_new_points_or_box(state, _CORRECTED, 1, points=place, labels=[0])
        between = [each for _, _, each in model.propagate_in_video(state, start, count)]
    mine = _keeping_all(model, images, MemoryPolicy.EXACT)
    for index, image in enumerate(images):
        mine.add_frame(image)
        if index == 0:
            mine.prompt(0, 1, _click(model, 0.4, 0.5))
        mine.track(index)
    mine.prompt(_CORRECTED, 1, _negative(model))
    walked = mine.walk(range(start, _CORRECTED + 1))
    return max(_apart(one[1], other) for one, other in zip(walked, between, strict=True))


def _keeping_all(model: Any, images: torch.Tensor, policy: MemoryPolicy) -> Follower:
    sam2_models.show_objects(model, True)
    config = CoreConfig(retained_frames=len(images), fill_hole_area_px=0, policy=policy)
    return Follower(model, config)


def _apart(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Ours is low-resolution, theirs at the model's size."""
    wide = torch.nn.functional.interpolate(
        mine, size=theirs.shape[-2:], mode="bilinear", align_corners=False
    )
    return float((wide - theirs).abs().max())


def _official(model: Any, images: torch.Tensor, corrected: bool) -> torch.Tensor:
    """The official predictor's logits of frame 25, propagated again after the correction."""
    state = sam2_models.official_state(model, images)
    place = _place(model, 0.4, 0.5)
    model.add_new_points_or_box(state, 0, 1, points=place, labels=[1])
    for _ in model.propagate_in_video(state):
        pass
    if corrected:
        place = _place(model, 0.6, 0.6)
        model.add_new_points_or_box(state, _CORRECTED, 1, points=place, labels=[0])
    found = {index: logits for index, _, logits in model.propagate_in_video(state, _CORRECTED, 5)}
    return found[_CORRECTED + 5]


def _place(model: Any, x: float, y: float) -> list[list[float]]:
    return [[x * model.image_size, y * model.image_size]]


def _click(model: Any, x: float, y: float, *, positive: bool = True) -> Points:
    return Points(
        torch.tensor([_place(model, x, y)]), torch.tensor([[int(positive)]], dtype=torch.int32)
    )


def _negative(model: Any) -> Points:
    return _click(model, 0.6, 0.6, positive=False)


def _worst(some: Masks, others: Masks) -> float:
    return max(_worst_at(some, others, index) for index in range(len(some)))


def _worst_at(some: Masks, others: Masks, index: int) -> float:
    return float((some[index][1] - others[index][1]).abs().max())
