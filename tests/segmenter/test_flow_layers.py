"""Objects that touch keep the look and outline they had before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from kinemask_segmenter.engines.base import Image, ObjectMask, Prompt
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.follow import Bools
from kinemask_segmenter.engines.flow.stream import FlowStream

HEIGHT, WIDTH = 140, 260
BEHIND, FRONT = 1, 2
FRAMES = 34


def _smooth_noise(height: int, width: int, seed: int, low: int, high: int) -> Image:
    grain = np.random.default_rng(seed).integers(low, high, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


BACKDROP = _smooth_noise(HEIGHT, WIDTH, 1, 60, 130)
LOOKS = {BEHIND: _smooth_noise(64, 48, 2, 100, 250), FRONT: _smooth_noise(80, 64, 3, 100, 250)}


def _put(image: Image, look: Image, x: int, y: int) -> Bools:
    """Draw an ellipse of a look with its top left corner there; where it lies."""
    height, width = look.shape[:2]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    axes = (width // 2, height // 2)
    cv2.ellipse(mask, (x + axes[0], y + axes[1]), axes, 0, 0, 360, 1, -1)
    laid = np.zeros_like(image)
    laid[y : y + height, max(x, 0) : x + width] = look[:, max(-x, 0) :]
    inside = mask > 0
    image[inside] = laid[inside]
    return inside


def _crossing(number: int) -> tuple[Image, dict[int, Bools]]:
    """Two cross, one wholly hidden on the way; the truth of what is in sight."""
    image = BACKDROP.copy()
    behind = _put(image, LOOKS[BEHIND], 20 + 4 * number, 30)
    front = _put(image, LOOKS[FRONT], 160 - 4 * number, 24)
    return image, {BEHIND: behind & ~front, FRONT: front}


def _overlap(one: Bools, other: Bools) -> float:
    return float((one & other).sum()) / max(1.0, float((one | other).sum()))


@pytest.fixture(scope="module")
def engine() -> Iterator[FlowEngine]:
    made = FlowEngine(FlowConfig(initial_steps=120), threads=1)
    yield made
    made.close()


async def _show(
    stream: FlowStream, number: int, prompts: Sequence[Prompt] = ()
) -> tuple[dict[int, ObjectMask], dict[int, Bools]]:
    image, truth = _crossing(number)
    raw = await stream.step(number, stream.prepare(image), prompts)
    return {item.object_id: item for item in stream.finish(raw)}, truth


def _begun(truth: dict[int, Bools]) -> list[Prompt]:
    return [Prompt(key, mask=mask) for key, mask in truth.items()]


async def test_masks_stay_right_while_one_passes_behind_the_other(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    lost: list[tuple[int, int, float]] = []
    for number in range(FRAMES):
        shown, truth = await _show(stream, number, _begun(_crossing(0)[1]) if number == 0 else [])
        assert not (shown[BEHIND].mask & shown[FRONT].mask).any()
        for key, mask in truth.items():
            found = _overlap(shown[key].mask, mask)
            if mask.sum() > 500 and found < 0.9:
                lost.append((number, key, found))
    assert not lost


async def test_who_touches_from_the_first_frame_on_is_unsure(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(14, 18):
        prompts = _begun(_crossing(14)[1]) if number == 14 else []
        shown, _ = await _show(stream, number, prompts)
    assert max(item.score for item in shown.values()) <= 0.5


async def test_a_box_does_not_replace_what_is_known_of_one_that_is_touched(
    engine: FlowEngine,
) -> None:
    asked, unasked = engine.open_stream(HEIGHT, WIDTH), engine.open_stream(HEIGHT, WIDTH)
    for number in range(16):
        first = _begun(_crossing(0)[1]) if number == 0 else []
        box = Prompt(FRONT, box_xyxy=(161.0 - 4 * number, 26.0, 222.0 - 4 * number, 102.0))
        one, _ = await _show(asked, number, [box] if number == 15 else first)
        other, _ = await _show(unasked, number, first)
    assert np.array_equal(one[FRONT].mask, other[FRONT].mask)
    assert one[FRONT].score > 0.75


async def test_a_box_around_one_that_another_lies_over_takes_nothing_of_that(
    engine: FlowEngine,
) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(13):
        image, truth = _crossing(number)
        prompts = [Prompt(FRONT, mask=truth[FRONT])] if number == 0 else []
        if number == 12:
            rows, columns = np.nonzero(truth[BEHIND])
            box = columns.min() - 1.0, rows.min() - 1.0, columns.max() + 9.0, rows.max() + 2.0
            prompts = [Prompt(BEHIND, box_xyxy=box)]
        raw = await stream.step(number, stream.prepare(image), prompts)
    shown = {item.object_id: item for item in stream.finish(raw)}
    assert (shown[FRONT].mask & truth[FRONT]).sum() > 0.95 * truth[FRONT].sum()
    assert _overlap(shown[BEHIND].mask, truth[BEHIND]) > 0.8


async def test_one_prompted_while_it_is_touched_is_followed_by_what_was_shown(
    engine: FlowEngine,
) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    lost: list[tuple[int, int, float]] = []
    for number in range(11, FRAMES):
        shown, truth = await _show(stream, number, _begun(_crossing(11)[1]) if number == 11 else [])
        for key, mask in truth.items():
            found = _overlap(shown[key].mask, mask)
            if mask.sum() > 500 and found < 0.85:
                lost.append((number, key, round(found, 3)))
        if number == 15:
            assert max(item.score for item in shown.values()) <= 0.5
    assert not lost


async def test_what_comes_into_the_frame_is_known_whole_when_it_is_touched(
    engine: FlowEngine,
) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(24):
        image = BACKDROP.copy()
        behind = _put(image, LOOKS[BEHIND], 90, 30)
        entering = _put(image, LOOKS[FRONT], 4 * number - 40, 24)
        prompts = _begun({BEHIND: behind & ~entering, FRONT: entering}) if number == 0 else []
        raw = await stream.step(number, stream.prepare(image), prompts)
        shown = {item.object_id: item for item in stream.finish(raw)}
        assert _overlap(shown[FRONT].mask, entering) > 0.8, number


async def test_the_users_mask_replaces_it(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(16):
        image, truth = _crossing(number)
        prompts = _begun(truth) if number == 0 else []
        if number == 15:
            wanted = truth[FRONT] & (np.arange(HEIGHT)[:, None] < 60)
            prompts = [Prompt(FRONT, mask=wanted)]
        raw = await stream.step(number, stream.prepare(image), prompts)
    shown = {item.object_id: item for item in stream.finish(raw)}
    assert _overlap(shown[FRONT].mask, wanted) > 0.9
    assert shown[FRONT].score <= 0.5


@pytest.mark.parametrize(
    "moved_at",
    [
        pytest.param(6, id="near each other"),
        pytest.param(15, id="touching"),
        pytest.param(20, id="one wholly hidden"),
    ],
)
async def test_restored_layers_go_on_bit_for_bit(engine: FlowEngine, moved_at: int) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(moved_at):
        await _show(stream, number, _begun(_crossing(0)[1]) if number == 0 else [])
    restored = engine.open_stream(HEIGHT, WIDTH, await stream.snapshot())
    for number in range(moved_at, FRAMES):
        here, _ = await _show(stream, number)
        there, _ = await _show(restored, number)
        for key in (BEHIND, FRONT):
            assert np.array_equal(here[key].mask, there[key].mask)
            assert here[key].score == there[key].score


async def test_nothing_is_kept_of_objects_that_are_far_apart(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for number in range(3):
        image = BACKDROP.copy()
        far = {1: _put(image, LOOKS[BEHIND][:24, :20], 10, 10)}
        far[2] = _put(image, LOOKS[FRONT][:24, :20], 220, 100)
        prompts = _begun(far) if number == 0 else []
        await stream.step(number, stream.prepare(image), prompts)
    assert not stream._state.layers.templates
