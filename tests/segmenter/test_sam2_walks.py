"""Retained frames gone over once more, and prompts taken back, with SAM 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

from kinemask import wire  # noqa: E402
from kinemask.v1 import segmenter_pb2  # noqa: E402
from kinemask_segmenter.engines.base import FrameGoneError, Prompt, StreamOptions  # noqa: E402
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint  # noqa: E402
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy  # noqa: E402
from kinemask_segmenter.engines.sam2.engine import Sam2Config, Sam2Engine  # noqa: E402
from kinemask_segmenter.engines.sam2.forward import Points  # noqa: E402
from kinemask_segmenter.engines.sam2.pixels import to_input  # noqa: E402
from kinemask_segmenter.engines.sam2.work import alone  # noqa: E402

from benchmarks import sam2_models, sam2_properties  # noqa: E402
from benchmarks.moving import moving_frames, object_box  # noqa: E402
from benchmarks.sam2_models import Follower  # noqa: E402
from tests.segmenter.segment_calls import (  # noqa: E402
    Edit,
    box,
    config,
    frame,
    prompt,
    segmenting,
)
from tests.stream_kit import StreamClient, code_of, reason_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*kipping the post-processing.*")
SIZE = 64
"""Of the model and of the pictures, so that both predictors resize nothing."""
BOX = object_box(SIZE, SIZE)
COUNT = 18
"""At least 16: the official predictor counts pointers by the video's length."""
PICTURES = list(moving_frames(COUNT, SIZE, SIZE))
CLICK = Points(torch.tensor([[[25.0, 32.0]]]), torch.tensor([[1]], dtype=torch.int32))
BESIDE = Points(torch.tensor([[[40.0, 40.0]]]), torch.tensor([[0]], dtype=torch.int32))


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    return sam2_models.build(0, SIZE)


@pytest.fixture(scope="module")
def images() -> Any:
    return sam2_models.frames(0, 36, SIZE)


@pytest.fixture(autouse=True)
def _objects_are_there(model: Any) -> None:
    sam2_models.show_objects(model, True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path, configuration = sam2_models.write_checkpoint(tmp_path_factory.mktemp("sam2"), 0, SIZE)
    return Checkpoint("small", path, str(configuration), None)


@pytest.fixture(scope="module")
def engine(small: Checkpoint) -> Iterator[Sam2Engine]:
    engine = Sam2Engine(small, Sam2Config(device="cpu", retained_frames=COUNT))
    yield engine
    engine.close()


# --- the core


def test_walks_are_the_official_predictors_bit_for_bit(model: Any, images: Any) -> None:
    assert sam2_properties.propagation(model, images) == {
        "back": 0.0,
        "click_on_the_way_back": 0.0,
        "between_prompts": 0.0,
    }


def _following(model: Any, images: Any, **settings: Any) -> Follower:
    """Object 1 from frame 0, object 2 from frame 3, over all images."""
    core = Follower(model, CoreConfig(retained_frames=8, fill_hole_area_px=0, **settings))
    _go_on(core, images)
    return core


def _go_on(core: Follower, images: Any) -> list[dict[int, Any]]:
    shown = []
    for image in images:
        index = core.add_frame(image)
        shown.append(core.track(index))
        if index in (0, 3):
            core.prompt(index, 1 + (index == 3), CLICK)
    return shown


def _equal(some: list[dict[int, Any]], others: list[dict[int, Any]]) -> bool:
    return len(some) == len(others) and all(
        one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        for one, other in zip(some, others, strict=True)
    )


def test_new_frames_are_as_if_no_walk_had_been(model: Any, images: Any) -> None:
    plain, walked = (_following(model, images[:14]) for _ in range(2))
    walked.walk(range(13, 5, -1))
    assert _equal(walked.walk([9, 10]), walked.walk([9, 10]))
    assert _equal(_go_on(plain, images[14:17]), _go_on(walked, images[14:17]))


def test_a_walk_starts_from_what_the_last_one_found(model: Any, images: Any) -> None:
    fresh, walked = (_following(model, images[:14]) for _ in range(2))
    walked.walk(range(13, 7, -1))
    assert not _equal(fresh.walk(range(12, 14)), walked.walk(range(12, 14)))


def test_state_is_as_large_with_walks_at_any_frame(model: Any, images: Any) -> None:
    core = _following(model, images[:30])
    plain = core.core.state_bytes
    core.walk(range(29, 21, -1))
    held = core.core.state_bytes
    assert plain < held < 2 * plain
    for start in range(30, 34):
        _go_on(core, images[start : start + 1])
        core.walk(range(start, start - 8, -1))
        assert core.core.state_bytes == held


def test_a_walk_holds_its_frames_while_the_window_moves_on(model: Any, images: Any) -> None:
    core = _following(model, images[:14])
    expected = _following(model, images[:14]).walk(range(13, 5, -1))
    walk = core.core.walk(range(13, 5, -1))
    found = []
    for image in images[14:22]:
        found.append({k: o.logits for k, o in alone(walk.step()).items()})
        _go_on(core, image[None])
    assert _equal(expected, found)
    with pytest.raises(FrameGoneError, match=r"window: 8 frames"):
        core.walk([13, 12])


def test_a_removed_object_leaves_the_walk(model: Any, images: Any) -> None:
    core = _following(model, images[:10])
    walk = core.core.walk([9, 8, 7])
    assert sorted(alone(walk.step())) == [1, 2]
    core.remove(2)
    core.prompt(9, 2, CLICK)  # another object of the same id
    assert sorted(alone(walk.step())) == [1]


@pytest.mark.parametrize("near", [1, 3])
def test_frames_sent_away_give_the_same_bits(model: Any, images: Any, near: int) -> None:
    here, away = (_following(model, images[:20], near_frames=n) for n in (None, near))
    assert _equal(here.walk(range(19, 11, -1)), away.walk(range(19, 11, -1)))
    for core in (here, away):
        core.prompt(13, 2, BESIDE)
    assert _equal(_go_on(here, images[20:23]), _go_on(away, images[20:23]))
    assert away.core.state_bytes < here.core.state_bytes  # what attention has worked out


def test_cleared_is_as_never_given(model: Any, images: Any) -> None:
    never, cleared = (_following(model, images[:10]) for _ in range(2))
    cleared.prompt(7, 1, BESIDE)
    _go_on(never, images[10:11]), _go_on(cleared, images[10:11])
    cleared.clear_frame(7, 1)
    assert _equal(_go_on(never, images[11:15]), _go_on(cleared, images[11:15]))


def test_cleared_by_the_official_policy_stays_in_memory(model: Any, images: Any) -> None:
    core = Follower(model, CoreConfig(policy=MemoryPolicy.OFFICIAL, retained_frames=8))
    core.prompt(core.add_frame(images[0]), 1, CLICK)
    index = core.add_frame(images[1])
    core.prompt(index, 1, BESIDE)
    core.clear_frame(index, 1)
    memory = core.core.memories[1]
    assert (list(memory.conditioning), list(memory.recent)) == ([0], [1])


# --- the engine


async def _step(stream: Any, number: int, *said: Prompt) -> Any:
    raw = await stream.step(number, stream.prepare(PICTURES[number]), said)
    return [(each.object_id, each.mask, each.score) for each in stream.finish(raw)]


def _same(some: Any, others: Any) -> bool:
    return len(some) == len(others) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) and a[2] == b[2]
        for a, b in zip(some, others, strict=True)
    )


async def test_later_prompts_are_given_again_when_an_earlier_one_is_cleared(
    engine: Sam2Engine,
) -> None:
    cleared, never = engine.open_stream(SIZE, SIZE), engine.open_stream(SIZE, SIZE)
    wrong = Prompt(1, np.array([[50.0, 50.0]], np.float32), np.array([False]))
    right = Prompt(1, np.array([[20.0, 30.0]], np.float32), np.array([True]))
    for number in range(8):
        said = {0: [Prompt(1, box_xyxy=BOX)], 3: [wrong], 5: [right]}.get(number, [])
        await _step(cleared, number, *said)
        await _step(never, number, *([] if number == 3 else said))
    assert await cleared.clear_frame(3, 1)
    assert not await cleared.clear_frame(3, 1)
    for number in range(8, 11):
        assert _same(await _step(cleared, number), await _step(never, number))


async def test_an_object_without_prompts_is_forgotten(engine: Sam2Engine) -> None:
    stream = engine.open_stream(SIZE, SIZE)
    await _step(stream, 0, Prompt(1, box_xyxy=BOX), Prompt(2, box_xyxy=BOX))
    assert await stream.clear_frame(0, 1)
    assert stream.object_ids() == (2,)
    with pytest.raises(FrameGoneError):
        await stream.clear_frame(7, 2)


async def test_a_walk_is_no_part_of_a_snapshot(engine: Sam2Engine) -> None:
    blobs = []
    for walks in (False, True):
        stream = engine.open_stream(SIZE, SIZE)
        await _step(stream, 0, Prompt(1, box_xyxy=BOX))
        for number in range(1, 5):
            await _step(stream, number)
        if walks:
            walk = stream.walk(4, 1, ())
            assert walk.frame_ids == [4, 3, 2, 1]
            for _ in walk.frame_ids:
                await walk.step()
        blobs.append(await stream.snapshot())
    assert blobs[0] == blobs[1]


def test_a_window_over_the_cap_is_refused(small: Checkpoint) -> None:
    engine = Sam2Engine(small, Sam2Config(device="cpu", max_retained_frames=20))
    assert engine.options(StreamOptions(retained_frames=20)).retained_frames == 20
    with pytest.raises(ValueError, match="retained_frames: expected at most 20, got 21"):
        engine.options(StreamOptions(retained_frames=21))


@pytest.mark.parametrize(
    ("device", "asked", "wished", "offloads"),
    [
        pytest.param("cpu", 200, True, False, id="a CPU holds them there anyway"),
        pytest.param("cuda", 4, False, False, id="short"),
        pytest.param("cuda", 200, False, True, id="long"),
        pytest.param("cuda", 4, True, True, id="as wished"),
    ],
)
def test_long_windows_go_to_host_memory(
    small: Checkpoint, device: str, asked: int, wished: bool, offloads: bool
) -> None:
    engine = Sam2Engine(small, Sam2Config(device=device))
    held = engine.options(StreamOptions(retained_frames=asked, offload_retained=wished))
    assert held.offload_retained is offloads


# --- over the wire


async def _sent(client: StreamClient, numbers: range) -> None:
    for number in numbers:
        await client.send(frame=frame(number, wire.image_to_message(PICTURES[number], None)))
        while (await client.read()).WhichOneof("message") != "result":
            pass


async def test_going_back_over_the_wire_is_the_official_predictors(
    engine: Sam2Engine,
) -> None:
    model = engine._models.model(None)
    predictor = sam2_models.build(0, SIZE)
    predictor.load_state_dict(model.state_dict())
    tensors = torch.stack([to_input(each, SIZE) for each in PICTURES[:COUNT]])
    state = sam2_models.official_state(predictor, tensors)
    last = COUNT - 1
    predictor.add_new_points_or_box(state, last, 1, box=np.array(BOX, np.float32))
    official = {
        index: (logits[0, 0] > 0).numpy()
        for index, _, logits in predictor.propagate_in_video(state, last, reverse=True)
    }
    async with segmenting(Sam2Engine(*_parts(engine))) as calls:
        client = calls.call()
        official_memory = segmenter_pb2.MEMORY_POLICY_OFFICIAL
        asked = config(memory_policy=official_memory, retained_frames=COUNT, fill_hole_area_px=0)
        started = await client.open(asked)
        assert "propagate" in started.edits
        assert started.config.retained_frames == COUNT
        said = segmenter_pb2.ObjectPrompt(object_id=1, box=box(*BOX))
        await client.send(edit=prompt(1, last, said))
        await _sent(client, range(COUNT))
        walk = segmenter_pb2.Propagation(to_frame_id=0)
        await client.send(edit=Edit(edit_id=2, frame_id=last, propagate=walk))
        responses = await client.finish()
    steps = [each.propagated for each in responses if each.HasField("propagated")]
    assert [each.result.frame_id for each in steps] == list(range(last, -1, -1))
    for each in steps:
        (found,) = each.result.objects
        mask = wire.mask_from_message(found.mask) if found.area_px else np.zeros((SIZE, SIZE))
        assert np.array_equal(mask, official[each.result.frame_id])
    assert sum(mask.any() for mask in official.values()) > COUNT // 2


def _parts(engine: Sam2Engine) -> tuple[Checkpoint, Sam2Config]:
    return engine._checkpoint, engine._config


async def test_clearing_a_frame_over_the_wire(engine: Sam2Engine) -> None:
    clear = segmenter_pb2.ObjectRemoval(object_id=1)
    async with segmenting(Sam2Engine(*_parts(engine))) as calls:
        client = await calls.opened()
        said = segmenter_pb2.ObjectPrompt(object_id=1, box=box(*BOX))
        await client.send(edit=prompt(1, 0, said))
        await _sent(client, range(3))
        answers = []
        for edit_id, frame_id in ((2, 1), (3, 0), (4, 0)):
            await client.send(edit=Edit(edit_id=edit_id, frame_id=frame_id, clear_frame=clear))
            answers.append((await client.read("edit")).edit)
    assert [reason_of(each.status) for each in answers] == ["NO_PROMPT", "", "UNKNOWN_OBJECT"]
    assert code_of(answers[0].status) is grpc.StatusCode.NOT_FOUND
    assert answers[1].object_id == 1
