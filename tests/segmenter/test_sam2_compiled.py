"""The fast tier compiled: padded to buckets, warmed up at the start, eager where that fails."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

from kinemask.v1 import segmenter_pb2  # noqa: E402
from kinemask_segmenter.engines.base import Prompt, StreamOptions  # noqa: E402
from kinemask_segmenter.engines.sam2.buckets import Compiled, CompileOptions  # noqa: E402
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint  # noqa: E402
from kinemask_segmenter.engines.sam2.compiled import CompiledForward  # noqa: E402
from kinemask_segmenter.engines.sam2.engine import Sam2Config, Sam2Engine  # noqa: E402
from kinemask_segmenter.engines.sam2.models import exact  # noqa: E402

from benchmarks import sam2_models  # noqa: E402
from benchmarks.moving import moving_frames, object_box  # noqa: E402
from tests.segmenter.segment_calls import segmenting  # noqa: E402

SIZE = 64
GRAPHS: list[int] = []
"""Sizes of the graphs that were compiled."""


def _traced(graph: Any, _: Any) -> Any:
    """A compiler that runs what it is given as it is: C++ compilers take minutes."""
    GRAPHS.append(len(graph.graph.nodes))
    return graph.forward


TRACED = CompileOptions(backend=_traced, buckets=(1, 2), conditioning=1)
PICTURES = list(moving_frames(21, SIZE, SIZE))
BOX = object_box(SIZE, SIZE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.set_num_threads(1)
    path, configuration = sam2_models.write_checkpoint(tmp_path_factory.mktemp("sam2"), 0, SIZE)
    return Checkpoint("small", path, str(configuration), None)


def _mixed(each: Any, *, shared: Any, factor: int) -> dict[str, Any]:
    return {"sum": each + shared, "parts": [each * factor, (each[:, :1],)]}


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(1, id="a bucket"),
        pytest.param(3, id="padded"),
        pytest.param(4, id="the largest"),
        pytest.param(11, id="cut, the rest padded"),
    ],
)
def test_any_batch_gives_what_the_function_gives(batch: int) -> None:
    options = CompileOptions(backend="eager", buckets=(1, 2, 4))
    compiled = Compiled(_mixed, options, cuda=False)
    compiled.warming = True
    each, shared = torch.rand(batch, 5), torch.rand(1, 5)
    found = compiled(each, shared=shared, factor=3)
    expected = _mixed(each, shared=shared, factor=3)
    assert torch.equal(found["sum"], expected["sum"])
    assert torch.equal(found["parts"][0], expected["parts"][0])
    assert torch.equal(found["parts"][1][0], expected["parts"][1][0])


def test_nothing_is_compiled_that_was_not_warmed_up() -> None:
    traced = []

    def note(graph: Any, inputs: Any) -> Any:
        traced.append([tuple(each.shape) for each in inputs])
        return graph.forward

    compiled = Compiled(lambda each: each + 1, CompileOptions(backend=note), cuda=False)
    compiled.warming = True
    compiled(torch.zeros(3, 2))
    compiled.warming = False
    for rows, columns in ((4, 2), (3, 2), (4, 3), (9, 2)):
        each = torch.rand(rows, columns)
        assert torch.equal(compiled(each), each + 1)
    assert traced == [[(4, 2)]]


def test_the_exact_tier_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="expected the tier fast"):
        CompiledForward(exact(sam2_models.build(0, SIZE)), TRACED)


async def _followed(engine: Sam2Engine) -> list[Any]:
    stream = engine.open_stream(SIZE, SIZE, options=StreamOptions(fast=True))
    raws = []
    for number, picture in enumerate(PICTURES):
        said = [Prompt(key, box_xyxy=BOX) for key in (1, 2, 3)] if number == 0 else []
        raws.append(await stream.step(number, stream.prepare(picture), said))
    return raws


async def test_masks_are_as_without_compiling(checkpoint: Checkpoint) -> None:
    found = []
    for options in (None, TRACED):
        engine = Sam2Engine(checkpoint, Sam2Config(device="cpu", compiled=options))
        engine.warm_up()
        assert ("tier fast compiled" in engine.info.notice) is (options is not None)
        compiled_at_start = len(GRAPHS)
        found.append(await _followed(engine))
        assert len(GRAPHS) == compiled_at_start
        engine.close()
    assert GRAPHS
    eager, compiled = found
    for one, other in zip(eager, compiled, strict=True):
        assert one.keys() == other.keys() == {1, 2, 3}
        assert all(float((one[k].logits - other[k].logits).abs().max()) <= 1e-4 for k in one)


async def test_where_compiling_fails_it_runs_eagerly_and_says_so(checkpoint: Checkpoint) -> None:
    broken = CompileOptions(backend="no such compiler", buckets=(1,))
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu", compiled=broken))
    async with segmenting(engine) as calls:
        started = await calls.call().open(segmenter_pb2.SegmentVideoConfig())
        assert "not compiled, runs eagerly" in started.terms.service.notice
        assert "no such compiler" in started.terms.service.notice
        assert len(await _followed(engine)) == len(PICTURES)
