"""The flow engine follows, loses, finds, refines and remembers objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from kinemask_segmenter.engines.base import FrameGoneError, Image, ObjectMask, Prompt
from kinemask_segmenter.engines.flow import FlowEngine
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.stream import FlowStream
from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 176
Bools = NDArray[np.bool_]


def _texture(height: int, width: int, colour: tuple[int, int, int], seed: int) -> Image:
    """Coarse noise around a colour."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(-30, 30, (height // 4 + 1, width // 4 + 1, 1))
    noise = np.repeat(np.repeat(blocks, 4, 0), 4, 1)[:height, :width]
    return np.asarray(np.clip(noise + np.array(colour), 0, 255), np.uint8)


BACKGROUND = _texture(HEIGHT, WIDTH, (60, 110, 70), 1)
RED = _texture(40, 40, (190, 60, 50), 2)
BLUE = _texture(40, 40, (50, 70, 190), 3)


def _disc(x: float, y: float, radius: float) -> Bools:
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    result: Bools = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return result


def _paint(image: Image, texture: Image, x: int, y: int, radius: int = 16) -> Bools:
    """Put a textured disc on the image and return where it is seen."""
    mask = _disc(x, y, radius)
    rows, columns = np.nonzero(mask)
    image[rows, columns] = texture[(rows - y + 20) % 40, (columns - x + 20) % 40]
    return mask


def _scene(
    red: tuple[int, int] | None, blue: tuple[int, int] | None = None
) -> tuple[Image, Bools, Bools]:
    image = BACKGROUND.copy()
    masks = [np.zeros((HEIGHT, WIDTH), np.bool_) for _ in range(2)]
    for index, (place, texture) in enumerate(((red, RED), (blue, BLUE))):
        if place is not None:
            masks[index] = _paint(image, texture, *place)
    return image, masks[0], masks[1]


def _overlap(one: Bools, other: Bools) -> float:
    return float((one & other).sum()) / max(1.0, float((one | other).sum()))


@pytest.fixture(scope="module")
def engine() -> Iterator[FlowEngine]:
    made = FlowEngine(FlowConfig(initial_steps=120), threads=2)
    yield made
    made.close()


async def _show(
    stream: FlowStream, frame_id: int, image: Image, prompts: Sequence[Prompt] = ()
) -> dict[int, ObjectMask]:
    raw = await stream.step(frame_id, stream.prepare(image), prompts)
    return {item.object_id: item for item in stream.finish(raw)}


async def test_follows_a_moving_object(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    overlaps = []
    for index in range(20):
        image, truth, _ = _scene((40 + 4 * index, 50 + index))
        prompts = [Prompt(1, mask=truth)] if index == 0 else []
        shown = await _show(stream, index, image, prompts)
        overlaps.append(_overlap(shown[1].mask, truth))
        assert shown[1].area_px == shown[1].mask.sum()
    assert min(overlaps) > 0.85
    assert shown[1].score > 0.7


async def test_leaves_with_an_empty_mask_and_is_found_again(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    image, truth, _ = _scene((88, 60))
    await _show(stream, 0, image, [Prompt(1, mask=truth)])
    for index in range(1, 6):
        gone = await _show(stream, index, BACKGROUND)
    assert not gone[1].mask.any()
    assert gone[1].box_xyxy is None
    assert gone[1].score < 0.3
    for index in range(6, 10):
        image, truth, _ = _scene((96, 64))
        back = await _show(stream, index, image)
    assert _overlap(back[1].mask, truth) > 0.8
    assert back[1].score > 0.5


async def test_two_objects_share_no_pixel(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    for index in range(12):
        image, red, blue = _scene((30 + 5 * index, 60), (146 - 5 * index, 60))
        red = red & ~blue
        prompts = [Prompt(1, mask=red), Prompt(2, mask=blue)] if index == 0 else []
        shown = await _show(stream, index, image, prompts)
        assert not (shown[1].mask & shown[2].mask).any()
    assert _overlap(shown[1].mask, red) > 0.7
    assert _overlap(shown[2].mask, blue) > 0.7


async def test_another_object_changes_nothing(engine: FlowEngine) -> None:
    alone, crowded = engine.open_stream(HEIGHT, WIDTH), engine.open_stream(HEIGHT, WIDTH)
    for index in range(8):
        image, red, blue = _scene((40 + 3 * index, 40), (130, 80))
        first = [Prompt(1, mask=red)] if index == 0 else []
        second = [Prompt(2, mask=blue)] if index == 2 else []
        if index == 5:
            assert crowded.remove(2)
        one = await _show(alone, index, image, first)
        many = await _show(crowded, index, image, [*first, *second])
        assert np.array_equal(one[1].mask, many[1].mask)
    assert crowded.object_ids() == (1,)
    assert not crowded.remove(2)


async def test_late_prompt_equals_one_on_time(engine: FlowEngine) -> None:
    timely, late = engine.open_stream(HEIGHT, WIDTH), engine.open_stream(HEIGHT, WIDTH)
    for index in range(10):
        image, red, _ = _scene((40 + 4 * index, 60))
        if index == 3:
            prompt = Prompt(7, mask=red)
        on_time = await _show(timely, index, image, [prompt] if index == 3 else [])
        if index == 8:
            await late.prompt_late(3, [prompt])
        behind = await _show(late, index, image)
    assert np.array_equal(on_time[7].mask, behind[7].mask)
    assert _overlap(behind[7].mask, red) > 0.8


async def test_refuses_frames_that_are_gone() -> None:
    engine = FlowEngine(FlowConfig(initial_steps=5, retained_frames=4), threads=1)
    stream = engine.open_stream(HEIGHT, WIDTH)
    for index in range(10):
        await _show(stream, index, BACKGROUND)
    with pytest.raises(FrameGoneError) as caught:
        await stream.prompt_late(5, [Prompt(1, box_xyxy=(0, 0, 9, 9))])
    assert caught.value.retained == (6, 7, 8, 9)
    assert engine.info.retained_frames == 4
    engine.close()


async def test_restored_stream_goes_on_bit_for_bit(engine: FlowEngine) -> None:
    first = engine.open_stream(HEIGHT, WIDTH)
    scenes = [_scene((40 + 4 * index, 60), (120, 30)) for index in range(10)]
    for index, (image, red, _) in enumerate(scenes[:5]):
        prompts = [Prompt(1, mask=red), Prompt(3, box_xyxy=(104, 14, 137, 47))]
        await _show(first, index, image, prompts if index == 0 else [])
    blob = await first.snapshot()
    other_engine = FlowEngine(FlowConfig(initial_steps=120), threads=1)
    second = other_engine.open_stream(HEIGHT, WIDTH, blob)
    for index, (image, _, _) in enumerate(scenes[5:], start=5):
        here, there = await _show(first, index, image), await _show(second, index, image)
        for key in (1, 3):
            assert np.array_equal(here[key].mask, there[key].mask)
            assert here[key].score == there[key].score
    other_engine.close()


async def test_state_does_not_grow() -> None:
    engine = FlowEngine(FlowConfig(initial_steps=5, retained_frames=4), threads=1)
    stream = engine.open_stream(64, 64)
    sizes = []
    for index in range(60):
        image = np.ascontiguousarray(BACKGROUND[:64, :64])
        image[20:40, 20 + index % 3 : 40 + index % 3] = RED[:20, :20]
        prompts = [Prompt(1, box_xyxy=(20, 20, 40, 40))] if index == 0 else []
        await _show(stream, index, image, prompts)
        if index in (29, 59):
            sizes.append(len(await stream.snapshot()))
    assert sizes[1] < 1.1 * sizes[0]
    assert len(stream._retained) == 4
    engine.close()


async def test_refinement_keeps_identity_and_joins_points(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    image, red, blue = _scene((50, 60), (120, 60))
    await _show(stream, 0, image, [Prompt(1, mask=red | blue)])
    point = np.array([[120, 60]], np.float32)
    await stream.prompt_late(0, [Prompt(1, point, np.array([False]))])
    shown = await _show(stream, 1, image)
    assert list(shown) == [1]
    assert not shown[1].mask[60, 120]
    assert shown[1].mask[60, 50]


async def test_bad_prompt_leaves_the_stream_as_it_was(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    image, red, _ = _scene((50, 60))
    with pytest.raises(ValueError, match="negative points only"):
        only_negative = Prompt(2, np.array([[5, 5]], np.float32), np.array([False]))
        await _show(stream, 0, image, [Prompt(1, mask=red), only_negative])
    assert stream.object_ids() == ()
    shown = await _show(stream, 0, image, [Prompt(1, mask=red)])
    assert list(shown) == [1]
    with pytest.raises(ValueError, match="frame id above 0"):
        await _show(stream, 0, image)


async def test_abandoned_step_does_not_overlap_the_next(engine: FlowEngine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    image, red, _ = _scene((50, 60))
    waiting = asyncio.create_task(_show(stream, 0, image, [Prompt(1, mask=red)]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    shown = await _show(stream, 1, image, [Prompt(1, mask=red)])
    assert _overlap(shown[1].mask, red) > 0.8


@pytest.mark.parametrize(
    ("height", "width"),
    [
        pytest.param(16, 16, id="smallest"),
        pytest.param(17, 301, id="flat and odd"),
        pytest.param(33, 20, id="barely enough for optical flow"),
        pytest.param(1, 40, id="a single row"),
        pytest.param(1081, 1923, id="reduced, odd"),
    ],
)
async def test_any_size(engine: FlowEngine, height: int, width: int) -> None:
    stream = engine.open_stream(height, width)
    rng = np.random.default_rng(4)
    mask = np.zeros((height, width), np.bool_)
    mask[height // 2, width // 2] = True
    corner = Prompt(2, np.array([[width - 1, height - 1]], np.float32), np.array([True]))
    whole = Prompt(3, box_xyxy=(0, 0, width, height))
    for index in range(3):
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        prompts = [Prompt(1, mask=mask), corner, whole] if index == 0 else []
        shown = await _show(stream, index, image, prompts)
        assert [item.mask.shape for item in shown.values()] == [(height, width)] * 3
        if index == 0:
            assert all(item.area_px > 0 for item in shown.values())
