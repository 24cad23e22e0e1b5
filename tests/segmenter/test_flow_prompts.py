"""Every kind of prompt gives a sensible mask, and nonsense is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from kinemask_segmenter.engines.base import Prompt
from kinemask_segmenter.engines.flow import FlowEngine
from numpy.typing import NDArray

HEIGHT, WIDTH = 200, 300
Bools = NDArray[np.bool_]


def _picture() -> tuple[NDArray[np.uint8], Bools]:
    """A yellow ellipse on a noisy blue ground."""
    rng = np.random.default_rng(5)
    image = rng.normal((50, 70, 140), 12, (HEIGHT, WIDTH, 3))
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    mask = ((columns - 150) / 50) ** 2 + ((rows - 100) / 35) ** 2 <= 1
    image[mask] = rng.normal((210, 190, 60), 12, (int(mask.sum()), 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _points(*points: tuple[float, float], positive: bool = True) -> Prompt:
    return Prompt(1, np.array(points, np.float32), np.full(len(points), positive))


def _overlap(one: Bools, other: Bools) -> float:
    return float((one & other).sum()) / float((one | other).sum())


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(_points((150, 100)), id="one point grows to the region"),
        pytest.param(_points((120, 100), (180, 110)), id="two points"),
        pytest.param(Prompt(1, box_xyxy=(95, 60, 206, 140)), id="tight box"),
        pytest.param(Prompt(1, box_xyxy=(80, 50, 220, 150)), id="loose box"),
        pytest.param(Prompt(1, mask=_picture()[1]), id="mask as it is"),
        pytest.param(
            Prompt(1, np.array([[150, 100]], np.float32), np.array([True]), (90, 55, 210, 145)),
            id="point and box",
        ),
    ],
)
async def test_prompt_covers_the_object(prompt: Prompt) -> None:
    image, truth = _picture()
    engine = FlowEngine(threads=1)
    (masks,) = (await engine.segment_image(image, [prompt], 3)).candidates
    assert max(_overlap(each.mask, truth) for each in masks) > 0.85
    assert [each.score for each in masks] == sorted((m.score for m in masks), reverse=True)
    assert all(0 <= each.score <= 1 for each in masks)
    engine.close()


async def test_box_on_a_plain_ground_gives_an_ellipse() -> None:
    engine = FlowEngine(threads=1)
    plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    found = await engine.segment_image(plain, [Prompt(1, box_xyxy=(50, 50, 110, 130))], 1)
    ((best, *_),) = found.candidates
    assert 0.25 * 60 * 80 <= best.area_px <= 60 * 80
    assert best.box_xyxy is not None
    assert best.box_xyxy[0] >= 50
    engine.close()


async def test_prompts_are_answered_in_order_with_at_most_the_candidates_asked_for() -> None:
    image, _ = _picture()
    engine = FlowEngine(threads=1)
    prompts = [_points((150, 100)), Prompt(9, box_xyxy=(95, 60, 206, 140))]
    answers = (await engine.segment_image(image, prompts, 2)).candidates
    assert [each[0].object_id for each in answers] == [1, 9]
    assert all(1 <= len(each) <= 2 for each in answers)
    engine.close()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param(Prompt(0, box_xyxy=(0, 0, 5, 5)), "positive object id", id="id zero"),
        pytest.param(Prompt(1), "got none of them", id="nothing said"),
        pytest.param(_points((5, 5), positive=False), "negative points only", id="only beside it"),
        pytest.param(Prompt(1, box_xyxy=(9, 0, 5, 5)), "x_min < x_max", id="box turned round"),
        pytest.param(_points((float("nan"), 5)), "finite", id="not a number"),
        pytest.param(Prompt(1, mask=np.ones((3, 3), np.bool_)), "mask of shape", id="wrong size"),
        pytest.param(
            Prompt(1, mask=np.zeros((HEIGHT, WIDTH), np.bool_)), "at least one pixel", id="empty"
        ),
        pytest.param(
            Prompt(1, np.zeros((2, 2), np.float32), np.ones(1, np.bool_)), "N labels", id="labels"
        ),
    ],
)
async def test_nonsense_is_refused(prompt: Prompt, message: str) -> None:
    image, _ = _picture()
    engine = FlowEngine(threads=1)
    with pytest.raises(ValueError, match=message):
        await engine.segment_image(image, [prompt], 1)
    engine.close()


async def test_refuses_no_candidates_and_other_images() -> None:
    engine = FlowEngine(threads=1)
    image, _ = _picture()
    with pytest.raises(ValueError, match="at least one candidate"):
        await engine.segment_image(image, [_points((1, 1))], 0)
    with pytest.raises(ValueError, match="shape"):
        engine.open_stream(10, 10).prepare(image)
    engine.close()
