"""The streaming SAM 2 core against the official predictor and against itself."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

from kinemask_segmenter.engines.base import FrameGoneError  # noqa: E402
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy  # noqa: E402
from kinemask_segmenter.engines.sam2.forward import Points  # noqa: E402
from kinemask_segmenter.engines.sam2.holes import fill_holes  # noqa: E402
from kinemask_segmenter.engines.sam2.memory import ObjectMemory, Output  # noqa: E402
from kinemask_segmenter.engines.sam2.models import fast_forward  # noqa: E402

from benchmarks import sam2_models, sam2_parity  # noqa: E402
from benchmarks.sam2_models import Follower  # noqa: E402

SIZE = 64
CLICK = Points(torch.tensor([[[25.0, 32.0]]]), torch.tensor([[1]], dtype=torch.int32))
BESIDE = Points(torch.tensor([[[40.0, 40.0]]]), torch.tensor([[0]], dtype=torch.int32))


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    return sam2_models.build(0, SIZE)


@pytest.fixture(scope="module")
def images() -> Any:
    return sam2_models.frames(0, 30, SIZE)


@pytest.fixture(autouse=True)
def _objects_are_there(model: Any) -> None:
    sam2_models.show_objects(model, True)


@pytest.mark.filterwarnings("ignore:.*kipping the post-processing.*")
@pytest.mark.parametrize("name", ["one_point", "mask", "occlusion", "added_at_8", "reverse"])
def test_equals_the_official_predictor_bit_for_bit(model: Any, images: Any, name: str) -> None:
    scenario = {**sam2_parity.SINGLE, **sam2_parity.SEVERAL}[name]
    assert sam2_parity.difference(model, images[:24], scenario) == 0.0


@pytest.mark.filterwarnings("ignore:.*kipping the post-processing.*")
def test_objects_in_one_batch_are_as_one_by_one(model: Any, images: Any) -> None:
    scenario = sam2_parity.SEVERAL["three_objects"]
    assert sam2_parity.difference(model, images[:20], scenario, fast_forward(model)) <= 1e-5


def _follow(core: Follower, images: Any) -> list[Any]:
    return [core.track(core.add_frame(image)) for image in images]


def _started(model: Any, images: Any, config: CoreConfig | None = None) -> Follower:
    core = Follower(model, config)
    core.prompt(core.add_frame(images[0]), 1, CLICK)
    return core


def test_memory_reaches_later_masks(model: Any, images: Any) -> None:
    kept, cut = _started(model, images), _started(model, images)
    _follow(kept, images[1:8]), _follow(cut, images[1:8])
    cut.core._objects[1].recent.clear()
    (with_memory,), (without,) = _follow(kept, images[8:9]), _follow(cut, images[8:9])
    assert not torch.equal(with_memory[1], without[1])


def test_other_objects_do_not_change_one(model: Any, images: Any) -> None:
    alone, among = _started(model, images), _started(model, images)
    expected = _follow(alone, images[1:14])
    found = _follow(among, images[1:4])
    among.prompt(3, 2, BESIDE)
    found += _follow(among, images[4:7])
    among.prompt(6, 2, CLICK)
    found += _follow(among, images[7:10])
    assert among.remove(2)
    found += _follow(among, images[10:14])
    assert all(torch.equal(a[1], b[1]) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("late", [1, 3])
@pytest.mark.parametrize("known", [pytest.param(False, id="new"), pytest.param(True, id="refined")])
def test_late_prompt_equals_one_on_time(model: Any, images: Any, late: int, known: bool) -> None:
    on_time, behind = _started(model, images), _started(model, images)
    key = 1 if known else 2
    _follow(on_time, images[1:22]), _follow(behind, images[1 : 22 + late])
    on_time.prompt(21, key, BESIDE)
    _follow(on_time, images[22 : 22 + late])
    behind.prompt(21, key, BESIDE)
    expected, found = (_follow(each, images[22 + late : 26 + late]) for each in (on_time, behind))
    for theirs, mine in zip(expected, found, strict=True):
        assert theirs.keys() == mine.keys() == {1, key}
        assert all(torch.equal(theirs[each], mine[each]) for each in theirs)


@pytest.mark.parametrize(
    ("policy", "lasts"), [(MemoryPolicy.EXACT, True), (MemoryPolicy.OFFICIAL, False)]
)
def test_correction_lasts_unless_official(
    model: Any, images: Any, policy: MemoryPolicy, lasts: bool
) -> None:
    config = CoreConfig(policy=policy)
    plain, corrected = _started(model, images, config), _started(model, images, config)
    _follow(plain, images[1:6]), _follow(corrected, images[1:6])
    corrected.prompt(5, 1, BESIDE)
    (before,), (after,) = _follow(plain, images[6:7]), _follow(corrected, images[6:7])
    assert torch.equal(before[1], after[1]) is not lasts


def test_state_stops_growing(model: Any, images: Any) -> None:
    core = _started(model, images)
    _follow(core, images[1:22])
    full = core.core.state_bytes
    _follow(core, images[22:30])
    assert core.core.state_bytes == full


def test_many_corrections_keep_the_first_and_the_cap(model: Any, images: Any) -> None:
    core = _started(model, images, CoreConfig(max_conditioning=3))
    for image in images[1:8]:
        index = core.add_frame(image)
        core.track(index)
        core.prompt(index, 1, BESIDE)
    assert list(core.core._objects[1].conditioning) == [0, 6, 7]


def test_frame_out_of_reach_is_named(model: Any, images: Any) -> None:
    core = _started(model, images, CoreConfig(retained_frames=2))
    _follow(core, images[1:4])
    with pytest.raises(FrameGoneError, match=r"frame 1 .*2\.\.3"):
        core.prompt(1, 1, CLICK)


def test_points_and_mask_together_are_refused(model: Any, images: Any) -> None:
    core = _started(model, images)
    with pytest.raises(ValueError, match="got both or none"):
        core.prompt(0, 2, CLICK, torch.zeros(1, 1, SIZE, SIZE))


@pytest.mark.parametrize(
    ("hole", "filled"),
    [
        pytest.param([(2, 2), (3, 3)], True, id="diagonal neighbours are one hole"),
        pytest.param([(2, x) for x in range(1, 9)], True, id="eight pixels"),
        pytest.param([(2, x) for x in range(1, 10)], False, id="nine pixels"),
        pytest.param([(2 + k, 1 + k) for k in range(9)], False, id="nine on a diagonal"),
        pytest.param([(0, 0)], True, id="at the border"),
    ],
)
def test_small_holes_are_filled(hole: list[tuple[int, int]], filled: bool) -> None:
    logits = torch.ones(1, 1, 12, 12)
    for y, x in hole:
        logits[0, 0, y, x] = -1.0
    found = fill_holes(logits, 8)
    levels = [float(found[0, 0, y, x]) for y, x in hole]
    assert levels == pytest.approx([0.1 if filled else -1.0] * len(hole))


def test_too_few_conditioning_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 conditioning frames, got 1"):
        ObjectMemory(1)


def test_conditioning_replaces_what_was_tracked() -> None:
    output = Output(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    memory = ObjectMemory(2)
    memory.follow(3, output)
    memory.condition(3, output)
    assert (list(memory.recent), list(memory.conditioning)) == ([], [3])
