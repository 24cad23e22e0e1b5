"""SAM 2 behind the service: real loading code on a small random checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

from kinemask import wire  # noqa: E402
from kinemask.v1 import segmenter_pb2  # noqa: E402
from kinemask_chassis.errors import ServiceError  # noqa: E402
from kinemask_chassis.server import StartError  # noqa: E402
from kinemask_chassis.snapshots import SnapshotError  # noqa: E402
from kinemask_segmenter.engines.base import FrameGoneError, Prompt, StreamOptions  # noqa: E402
from kinemask_segmenter.engines.everything import EverythingOptions  # noqa: E402
from kinemask_segmenter.engines.installed import installed_engines  # noqa: E402
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint  # noqa: E402
from kinemask_segmenter.engines.sam2.engine import Sam2Config, Sam2Engine  # noqa: E402
from kinemask_segmenter.engines.sam2.pixels import to_input  # noqa: E402
from kinemask_segmenter.service import SegmenterService  # noqa: E402
from kinemask_segmenter.settings import SegmenterSettings  # noqa: E402
from PIL import Image as PilImage  # noqa: E402
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator  # noqa: E402
from sam2.sam2_image_predictor import SAM2ImagePredictor  # noqa: E402
from sam2.utils.misc import load_video_frames  # noqa: E402

from benchmarks import sam2_models  # noqa: E402
from benchmarks.moving import moving_frames, object_box  # noqa: E402
from tests.segmenter.segment_calls import box, config, frame, prompt, segmenting  # noqa: E402

SIZE = 128
WIDTH, HEIGHT = 96, 72
BOX = object_box(WIDTH, HEIGHT)
LEVELS = [(SIZE // step, SIZE // step) for step in (4, 8, 16)]
"""Which the official picture predictor takes to be those of 1024 pixels."""
PICTURES = moving_frames(30, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.set_num_threads(1)
    path, configuration = sam2_models.write_checkpoint(tmp_path_factory.mktemp("sam2"), 0, SIZE)
    return Checkpoint("small", path, str(configuration), None)


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint) -> Iterator[Sam2Engine]:
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu"))
    yield engine
    engine.close()


async def follow(stream: Any, frames: range, said: Prompt | None = None) -> list[Any]:
    """What is on each frame; the prompt is on the first."""
    found = []
    for number in frames:
        prompts = [said] if said is not None and number == frames[0] else []
        raw = await stream.step(number, stream.prepare(PICTURES[number]), prompts)
        found.append(stream.finish(raw))
    return found


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a.object_id == b.object_id and a.score == b.score and np.array_equal(a.mask, b.mask)
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def test_pictures_are_read_as_by_the_official_loader(tmp_path: Path) -> None:
    PilImage.fromarray(PICTURES[0]).save(tmp_path / "00000.jpg", quality=95)
    official, _, _ = load_video_frames(
        str(tmp_path), SIZE, offload_video_to_cpu=True, compute_device=torch.device("cpu")
    )
    ours = to_input(np.array(PilImage.open(tmp_path / "00000.jpg")), SIZE)
    assert torch.equal(official[0], ours)


async def test_a_restored_stream_goes_on_bit_for_bit(engine: Sam2Engine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    await follow(stream, range(20), Prompt(1, box_xyxy=BOX))
    blob = await stream.snapshot()
    again = engine.open_stream(HEIGHT, WIDTH, blob)
    assert again.object_ids() == (1,)
    assert same(await follow(stream, range(20, 28)), await follow(again, range(20, 28)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda blob: blob[:-9], id="truncated"),
        pytest.param(lambda blob: blob[:40] + b"?" + blob[41:], id="a flipped byte"),
        pytest.param(lambda blob: b"", id="empty"),
    ],
)
async def test_a_damaged_snapshot_is_refused(engine: Sam2Engine, change: Any) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    await follow(stream, range(2), Prompt(1, box_xyxy=BOX))
    blob = await stream.snapshot()
    with pytest.raises(SnapshotError):
        engine.open_stream(HEIGHT, WIDTH, change(blob))


async def test_a_snapshot_of_another_size_is_refused(engine: Sam2Engine) -> None:
    stream = engine.open_stream(HEIGHT, WIDTH)
    await follow(stream, range(1), Prompt(1, box_xyxy=BOX))
    with pytest.raises(ValueError, match="expected the state of"):
        engine.open_stream(HEIGHT, WIDTH + 1, await stream.snapshot())


async def test_a_late_prompt_is_as_one_on_time(engine: Sam2Engine) -> None:
    on_time, late = engine.open_stream(HEIGHT, WIDTH), engine.open_stream(HEIGHT, WIDTH)
    await follow(on_time, range(4), Prompt(1, box_xyxy=BOX))
    await follow(late, range(4))
    await late.prompt_late(1, [])  # nothing said changes nothing
    with pytest.raises(FrameGoneError):
        await late.prompt_late(99, [Prompt(1, box_xyxy=BOX)])
    await late.prompt_late(0, [Prompt(1, box_xyxy=BOX)])
    assert same(await follow(on_time, range(4, 9)), await follow(late, range(4, 9)))


async def test_streams_together_are_as_alone(checkpoint: Checkpoint) -> None:
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu", max_batch=4))
    said = Prompt(1, box_xyxy=BOX)
    alone = await follow(engine.open_stream(HEIGHT, WIDTH), range(8), said)
    together = await asyncio.gather(
        *(follow(engine.open_stream(HEIGHT, WIDTH), range(8), said) for _ in range(3))
    )
    engine.close()
    assert all(same(alone, each) for each in together)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
async def test_the_fast_tier_gives_the_same_masks(checkpoint: Checkpoint, precision: str) -> None:
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu", precision=precision))
    said = Prompt(1, box_xyxy=BOX)
    raws: dict[bool, list[Any]] = {}
    for fast in (False, True):
        stream = engine.open_stream(HEIGHT, WIDTH, options=StreamOptions(fast=fast))
        raws[fast] = []
        for number in range(18):
            prepared = stream.prepare(PICTURES[number])
            raw = await stream.step(number, prepared, [said] if number == 0 else [])
            raws[fast].append(raw[1].logits)
    engine.close()
    for exact, fast_logits in zip(raws[False], raws[True], strict=True):
        if precision == "fp32":
            assert float((exact - fast_logits).abs().max()) <= 1e-4
        union = ((exact > 0) | (fast_logits > 0)).sum().item()
        both = ((exact > 0) & (fast_logits > 0)).sum().item()
        assert both >= 0.9 * union


async def test_one_failing_stream_does_not_hurt_another(engine: Sam2Engine) -> None:
    good, bad = engine.open_stream(HEIGHT, WIDTH), engine.open_stream(HEIGHT, WIDTH)
    results = await asyncio.gather(
        follow(good, range(4), Prompt(1, box_xyxy=BOX)),
        bad.step(0, torch.zeros(3, 7, 7), [Prompt(1, box_xyxy=BOX)]),
        return_exceptions=True,
    )
    assert isinstance(results[1], Exception)
    assert len(results[0]) == 4


async def test_a_click_on_a_picture_is_as_the_official_predictors(
    engine: Sam2Engine, checkpoint: Checkpoint
) -> None:
    predictor = SAM2ImagePredictor(engine._models.model(None))
    predictor._bb_feat_sizes = LEVELS
    predictor.set_image(PICTURES[0])
    masks, ratings, _ = predictor.predict(
        point_coords=np.array([[30.0, 30.0]]), point_labels=np.array([1]), multimask_output=True
    )
    order = np.argsort(-ratings, kind="stable")
    click = Prompt(1, np.array([[30.0, 30.0]], np.float32), np.array([True]))
    first = await engine.segment_image(PICTURES[0], [click], 3)
    second = await engine.segment_image(PICTURES[0], [click], 3)
    assert (first.embedding_cached, second.embedding_cached) == (False, True)
    for found in (first, second):
        for ours, number in zip(found.candidates[0], order, strict=True):
            assert np.array_equal(ours.mask, masks[number].astype(bool))


async def test_everything_is_what_the_official_generator_finds(engine: Sam2Engine) -> None:
    generator = SAM2AutomaticMaskGenerator(
        engine._models.model(None),
        points_per_side=4,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
    )
    generator.predictor._bb_feat_sizes = LEVELS
    official = generator.generate(PICTURES[0])
    options = EverythingOptions(
        points_per_side=4, score_threshold=0.0, stability_threshold=0.0, overlap_threshold=0.7
    )
    ours = await engine.segment_everything(PICTURES[0], options)
    theirs = [each["segmentation"] for each in official]
    assert ours
    assert len(ours) == len(theirs)
    for mask in ours:
        assert max(_iou(mask.mask, other) for other in theirs) > 0.99


def _iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


async def test_the_service_follows_with_a_checkpoint_by_path(checkpoint: Checkpoint) -> None:
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu"))
    async with segmenting(engine) as calls:
        client = calls.call()
        asked = config(memory_policy=segmenter_pb2.MEMORY_POLICY_OFFICIAL)
        started = await client.open(asked)
        assert started.terms.service.engine == "sam2"
        assert started.config.max_conditioning_frames == 8
        assert started.config.tier == segmenter_pb2.COMPUTE_TIER_EXACT
        said = segmenter_pb2.ObjectPrompt(object_id=1, box=box(*BOX))
        await client.send(edit=prompt(1, 0, said))
        for number in range(3):
            image = wire.image_to_message(PICTURES[number])
            await client.send(frame=frame(number, image))
            if number == 0:
                assert (await client.read("edit")).edit.object_id == 1
            result = (await client.read("result")).result
            assert [each.object_id for each in result.objects] == [1]


async def test_a_second_click_over_the_wire_skips_the_encoder(checkpoint: Checkpoint) -> None:
    engine = Sam2Engine(checkpoint, Sam2Config(device="cpu"))
    async with segmenting(engine) as calls:
        request = segmenter_pb2.SegmentImageRequest(
            image=wire.image_to_message(PICTURES[0]),
            prompts=[segmenter_pb2.ObjectPrompt(object_id=1, box=box(*BOX))],
        )
        replies = [await calls.stub.SegmentImage(request) for _ in range(2)]
        assert [reply.embedding_cached for reply in replies] == [False, True]
        assert all(reply.timing.infer_ms > 0 for reply in replies)


async def test_an_impossible_option_is_refused(checkpoint: Checkpoint) -> None:
    async with segmenting(Sam2Engine(checkpoint, Sam2Config(device="cpu"))) as calls:
        client = calls.call()
        await client.send(config=config(input_size_px=100))
        status = await client.failure()
        assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert "multiple of 64" in status.message


def test_weights_of_another_hash_refuse_to_start(checkpoint: Checkpoint) -> None:
    pinned = Checkpoint(checkpoint.name, checkpoint.path, checkpoint.config, "0" * 64)
    with pytest.raises(ValueError, match=r"expected SHA-256 0000.*found [0-9a-f]{64}"):
        Sam2Engine(pinned)


def test_a_file_that_is_no_checkpoint_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(b"no weights")
    settings = SegmenterSettings(port=0, sam2_checkpoint=path)
    service = SegmenterService(settings)
    with pytest.raises(StartError, match="expected"):
        asyncio.run(service.warm_up())


def test_known_weights_that_are_not_the_published_ones_refuse_to_start(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "sam2.1-hiera-tiny"
    folder.mkdir(parents=True)
    (folder / "sam2.1_hiera_tiny.pt").write_bytes(b"something else")
    with pytest.raises(StartError, match="expected SHA-256 7402e0d8"):
        SegmenterService(SegmenterSettings(port=0, data_dir=tmp_path))


def test_a_model_whose_weights_are_absent_says_how_to_get_them(tmp_path: Path) -> None:
    engines = installed_engines(SegmenterSettings(port=0, data_dir=tmp_path))
    assert engines.default.info.engine == "flow"
    with pytest.raises(ServiceError, match=r"kinemask models pull sam2\.1-hiera-tiny") as caught:
        engines.choose("sam2.1-hiera-tiny")
    assert caught.value.reason == "MODEL_ABSENT"
