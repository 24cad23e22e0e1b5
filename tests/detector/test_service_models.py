"""The whole service with checkpoints of random weights, on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2

from tests.detector.detect_calls import (
    SNAPSHOT,
    DetectCalls,
    detecting_with,
    edit,
    frame,
    stream_config,
)
from tests.stream_kit import code_of, details_of, reason_of, status_of

pytest.importorskip("transformers", reason="detection models need transformers")

Code = grpc.StatusCode
Options = detector_pb2.DetectOptions
CLOSED = ("detr", "rt-detr-v2", "d-fine")
ZERO_SHOT = ("owlv2", "grounding-dino", "llmdet", "omdet-turbo")


def photo(seed: int) -> media_pb2.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(small, 12, axis=0), 12, axis=1)
    return wire.image_to_message(image, jpeg_quality=None)


def all_of(*prompts: str, model: str = "", **options: float) -> Options:
    """Nothing is too weak."""
    return Options(prompts=prompts, model=model, score_threshold=0.0, **options)  # type: ignore[arg-type]  # whatever a test names


def told(result: detector_pb2.ImageDetections) -> list[tuple[str, int, int]]:
    assert not result.HasField("error"), result.error.message
    return [
        (one.prompt or one.label, round(one.box.x_min), round(one.box.y_max))
        for one in result.detections
        if one.score > 1e-3
    ]


async def refused_with(calls: DetectCalls, options: Options) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await calls.detect([photo(1)], options)
    return refused.value


async def test_every_model_is_listed_and_the_absent_ones_say_why(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors) as calls:
        listed = await calls.stub.ListModels(detector_pb2.DetectorServiceListModelsRequest())
        ready = [model for model in listed.models if model.ready]
        assert {model.name for model in ready} == {*CLOSED, *ZERO_SHOT, "classic"}
        assert [model.name for model in ready if model.is_default] == [ready[0].name]
        assert ready[0].name in CLOSED and "traffic light" in ready[0].classes
        lacking = {model.name: model.reason for model in listed.models if not model.ready}
        assert lacking["dfine-large-coco"].endswith("kinemask models pull dfine-large-coco")


async def test_many_clients_of_many_models_get_what_each_gets_alone(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors, detector_max_batch=4) as calls:
        options = [all_of(model=model) for model in CLOSED]
        options += [all_of("cat", "red car", model=model) for model in ZERO_SHOT]
        wanted = [(photo(seed), one) for one in options for seed in range(3)]
        at_once = await asyncio.gather(*(calls.detect([image], one) for image, one in wanted))
        for (image, one), answer in zip(wanted, at_once, strict=True):
            alone = await calls.detect([image], one)
            assert sorted(told(answer.results[0])) == sorted(told(alone.results[0]))
            assert (answer.service.model, answer.service.engine) == (one.model, "transformers")
            assert answer.service.notice == ""


async def test_small_memory_holds_some_models_at_a_time(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors, detector_memory_mib=3) as calls:
        engines = {engine.info.name: engine for engine in calls.service.engines}
        sizes = {name: engines[name].size_bytes for name in ZERO_SHOT}  # type: ignore[attr-defined]  # a Loadable's
        assert sum(sizes.values()) > 3 << 20 > max(sizes.values())
        first = told((await calls.detect([photo(1)], all_of("cat", model="owlv2"))).results[0])
        for model in (*ZERO_SHOT, *CLOSED, *ZERO_SHOT):
            words = () if model in CLOSED else ("cat",)
            answer = await calls.detect([photo(1)], all_of(*words, model=model))
            assert not answer.results[0].HasField("error")
            loaded = [e for e in engines.values() if getattr(e, "loaded", False)]
            assert sum(e.size_bytes for e in loaded) <= 3 << 20  # type: ignore[attr-defined]  # as above
        again = told((await calls.detect([photo(1)], all_of("cat", model="owlv2"))).results[0])
        assert again == first


async def test_model_that_does_not_fit_says_which_setting(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors, detector_memory_mib=1) as calls:
        error = await refused_with(calls, all_of("cat", model="omdet-turbo"))
        assert code_of(status_of(error)) is Code.FAILED_PRECONDITION
        assert "KINEMASK_DETECTOR_MEMORY_MIB" in str(error.details())


@pytest.mark.parametrize(
    ("options", "model", "notice"),
    [
        pytest.param(all_of(), CLOSED, "auto chose", id="no words: all it knows"),
        pytest.param(all_of("people", "cars"), CLOSED, "auto chose", id="words it knows"),
        pytest.param(all_of("a dog"), ZERO_SHOT, "cannot look for these words", id="other words"),
        pytest.param(all_of("faces"), ("yunet-hog",), "made for what", id="faces alone"),
        pytest.param(
            all_of("face", "red car"), ZERO_SHOT, "cannot look for", id="faces and other things"
        ),
    ],
)
async def test_auto_takes_a_model_that_can_look_for_the_words(
    tiny_detectors: Path, options: Options, model: tuple[str, ...], notice: str
) -> None:
    async with detecting_with(tiny_detectors) as calls:
        answer = await calls.detect([photo(1)], options)
        assert answer.service.model in model
        assert notice in answer.service.notice
        assert not answer.results[0].HasField("error")


@pytest.mark.parametrize(
    ("options", "reason", "field", "says"),
    [
        pytest.param(
            all_of("cat", "wineglas", model="d-fine"),
            "UNKNOWN_PROMPT",
            "options.prompts[1]",
            "wine glass",
            id="a word near to a label",
        ),
        pytest.param(
            all_of("unicorn", model="detr"),
            "UNKNOWN_PROMPT",
            "options.prompts[0]",
            "person",
            id="a word near to none",
        ),
        pytest.param(
            Options(classes=["red car"], model="detr"),
            "UNKNOWN_CLASS",
            "options.classes[0]",
            "car",
            id="a class",
        ),
        pytest.param(
            all_of(model="owlv2"), "BAD_PROMPT", "options.prompts", "words", id="no words"
        ),
        pytest.param(
            all_of("cat", "", model="owlv2"),
            "BAD_PROMPT",
            "options.prompts[1]",
            "words",
            id="an empty prompt",
        ),
        pytest.param(
            all_of("", model="d-fine"),
            "UNKNOWN_PROMPT",
            "options.prompts[0]",
            "person",
            id="an empty prompt, fixed classes",
        ),
        pytest.param(
            all_of(*["cat"] * 1000, model="owlv2"),
            "INVALID_FIELD",
            "options.prompts",
            "64",
            id="1,000 prompts",
        ),
        pytest.param(
            Options(prompts=["cat"], model="owlv2", score_threshold=float("nan")),
            "INVALID_FIELD",
            "options.score_threshold",
            "nan",
            id="a score threshold that is no number",
        ),
        pytest.param(
            Options(prompts=["cat"], model="owlv2", overlap_threshold=float("nan")),
            "INVALID_FIELD",
            "options.overlap_threshold",
            "nan",
            id="an overlap threshold that is no number",
        ),
    ],
)
async def test_what_a_model_cannot_look_for_is_the_callers_error(
    tiny_detectors: Path, options: Options, reason: str, field: str, says: str
) -> None:
    async with detecting_with(tiny_detectors) as calls:
        status = status_of(await refused_with(calls, options))
        assert (code_of(status), reason_of(status)) == (Code.INVALID_ARGUMENT, reason)
        (violation,) = details_of(status, error_details_pb2.BadRequest).field_violations
        assert violation.field == field
        assert says in violation.description


async def test_absent_model_is_a_failed_precondition_with_its_command(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors) as calls:
        status = status_of(await refused_with(calls, all_of("cat", model="llmdet-tiny")))
        assert (code_of(status), reason_of(status)) == (Code.FAILED_PRECONDITION, "MODEL_ABSENT")
        assert "kinemask models pull llmdet-tiny" in status.message


async def test_stream_looks_for_other_words_with_the_model_it_began_with(
    tiny_detectors: Path,
) -> None:
    async with detecting_with(tiny_detectors) as calls:
        client = calls.call()
        started = await client.open(stream_config(options=all_of("a dog")))
        model = started.config.options.model
        assert model in ZERO_SHOT and started.terms.service.model == model
        await client.send(frame=frame(0, photo(0)))
        await client.send(edit=edit(1, all_of("cat", "person"), frame_id=1))
        await client.send(frame=frame(1, photo(0)))
        answers = await client.finish()
        before, after = [one.result.detections for one in answers if one.HasField("result")]
        assert {one.prompt for one in before.detections} == {"a dog"}
        assert {one.prompt for one in after.detections} <= {"cat", "person"}
        alone = await calls.detect([photo(0)], all_of("cat", "person", model=model))
        assert told(after) == told(alone.results[0])


async def test_stream_goes_on_from_a_token_with_its_model_and_words(tiny_detectors: Path) -> None:
    async with detecting_with(tiny_detectors) as calls:
        client = calls.call()
        started = await client.open(stream_config(options=all_of("a dog")))
        await client.send(frame=frame(0, photo(0)))
        await client.send(edit=edit(1, all_of("cat"), frame_id=1))
        await client.send(frame=frame(1, photo(0)))
        await client.send(snapshot=SNAPSHOT)
        answers = await client.finish()
        (token,) = [one.snapshot.resume_token for one in answers if one.HasField("snapshot")]
        # For a cat alone, `auto` would take a model of fixed classes.
        again = calls.call()
        resumed = await again.open(stream_config(options=all_of("a dog"), resume_token=token))
        assert resumed.config.options.model == started.config.options.model
        assert resumed.config.options.prompts == ["cat"]
        await again.finish()
