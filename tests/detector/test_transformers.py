"""Checkpoints of each architecture with random weights, held against transformers' own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinemask_detector.engines.base import (
    BadPromptError,
    Detection,
    DetectRequest,
    Image,
    UnknownPromptError,
)
from kinemask_detector.engines.installed import installed_engines
from kinemask_detector.settings import DetectorSettings

torch = pytest.importorskip("torch", reason="detection models need PyTorch")
transformers = pytest.importorskip("transformers", reason="detection models need transformers")

CLOSED = ("detr", "rt-detr-v2", "d-fine")
ZERO_SHOT = ("owlv2", "grounding-dino", "llmdet", "omdet-turbo")
each_engine = pytest.mark.parametrize("engine", CLOSED + ZERO_SHOT, indirect=True)
each_closed = pytest.mark.parametrize("engine", CLOSED, indirect=True)
each_zero_shot = pytest.mark.parametrize("engine", ZERO_SHOT, indirect=True)
WORDS = ("red car", "cat", "a dog")


@pytest.fixture(scope="module")
def engines(tiny_detectors: Path) -> Iterator[dict[str, Any]]:
    settings = DetectorSettings(data_dir=tiny_detectors, detector_device="cpu")
    found: dict[str, Any] = {engine.info.name: engine for engine in installed_engines(settings)}
    for name in CLOSED + ZERO_SHOT:
        found[name].load()
    yield found
    for name in CLOSED + ZERO_SHOT:
        found[name].unload()


@pytest.fixture
def engine(engines: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    return engines[request.param]


def picture(seed: int, height: int = 48, width: int = 72) -> Image:
    """Coloured patches."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, height // 4, axis=0), width // 4, axis=1)


def words_for(engine: Any) -> tuple[str, ...]:
    return () if engine.info.name in CLOSED else WORDS


def everything(image: Image, prompts: tuple[str, ...] = (), **options: Any) -> DetectRequest:
    """Nothing is too weak, and nothing gives way to another."""
    all_of_it = {"score_threshold": 0.0, "overlap_threshold": 1.0, "top_k": 1000}
    return DetectRequest(image, prompts, **{**all_of_it, **options})


def found_in(engine: Any, requests: list[DetectRequest]) -> list[list[Detection]]:
    """What one batch finds."""
    for request in requests:
        engine.check(request.prompts, request.classes)
    prepared = [engine.preprocess(request) for request in requests]
    assert len({engine.bucket(one) for one in prepared}) == 1
    raw = engine.infer(prepared)
    return [engine.postprocess(one, made) for one, made in zip(prepared, raw, strict=True)]


def rows(found: list[Detection]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`(N, 5)`: boxes and scores, in an order of their own."""
    table = np.array([[*one.box_xyxy, one.score] for one in found]).reshape(-1, 5)
    return table[np.lexsort(table.round(3).T)]


def theirs(boxes: Any, scores: Any, height: int, width: int) -> Any:
    """What transformers tells, as `rows`: cut to the picture, without what is empty then."""
    table = np.hstack([boxes.numpy(), scores.numpy()[:, None]]).astype(np.float64)
    table[:, :4] = table[:, :4].clip(0, [width, height, width, height])
    table = table[(table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])]
    return table[np.lexsort(table.round(3).T)]


def test_info_says_what_it_is(engines: dict[str, Any]) -> None:
    for name in CLOSED + ZERO_SHOT:
        info = engines[name].info
        assert (info.name, info.engine, info.device) == (name, "transformers", "cpu")
        assert (info.classes is None) == (name in ZERO_SHOT)
    assert engines["detr"].info.classes == engines["d-fine"].info.classes  # without "N/A"
    assert engines["owlv2"].info.revision == "r1"


def test_order_of_auto_is_fixed_classes_then_any_words_then_classic(
    engines: dict[str, Any],
) -> None:
    assert set(list(engines)[:3]) == set(CLOSED)
    assert set(list(engines)[3:7]) == set(ZERO_SHOT)
    assert list(engines)[7:] == ["classic"]


@each_engine
def test_batch_finds_what_each_picture_has_alone(engine: Any) -> None:
    requests = [everything(picture(seed), words_for(engine)) for seed in range(3)]
    together = found_in(engine, requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = found_in(engine, [request])
        np.testing.assert_allclose(rows(found), rows(alone), atol=1e-3)
        assert sorted(one.prompt for one in found) == sorted(one.prompt for one in alone)
    scores = [{round(one.score, 4) for one in found} for found in together]
    assert scores[0] != scores[1], "the scores do not depend on the picture"


@each_closed
@pytest.mark.parametrize("shape", [(48, 72), (90, 40)], ids=["wide", "tall"])
def test_closed_set_is_what_transformers_tells(
    engine: Any, tiny_detectors: Path, shape: tuple[int, int]
) -> None:
    image = picture(5, *shape)
    folder = tiny_detectors / "models" / engine.info.name
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(**processor(images=image, return_tensors="pt"))
    for threshold in (0.0, 0.15):
        (expected,) = processor.post_process_object_detection(
            output, threshold=threshold, target_sizes=[image.shape[:2]]
        )
        labels = [model.config.id2label[int(label)] for label in expected["labels"]]
        kept = torch.tensor([label != "N/A" for label in labels], dtype=torch.bool)
        (found,) = found_in(engine, [everything(image, score_threshold=threshold)])
        wanted = theirs(expected["boxes"][kept], expected["scores"][kept], *image.shape[:2])
        np.testing.assert_allclose(rows(found), wanted, atol=1e-3)
        assert found, "nothing to compare"
        if len(wanted) == int(kept.sum()):
            named = sorted(label for label in labels if label != "N/A")
            assert sorted(one.label for one in found) == named


def own_output(engine: Any, folder: Path, image: Image) -> tuple[Any, Any, Any]:
    """transformers' processor, inputs and output for WORDS."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    texts = [list(WORDS)]
    if engine.info.name == "omdet-turbo":
        length = model.config.text_config.max_position_embeddings
        inputs = processor(
            images=image, text=texts, return_tensors="pt", text_kwargs={"max_length": length}
        )
    else:
        inputs = processor(images=image, text=texts, return_tensors="pt")
    with torch.inference_mode():
        return processor, inputs, model(**inputs)


def own_processor(folder: Path, name: str) -> None:
    """Beside the tiny checkpoint what says which of transformers' processors is its own."""
    classes = {
        "owlv2": "Owlv2Processor",
        "grounding-dino": "GroundingDinoProcessor",
        "llmdet": "GroundingDinoProcessor",
        "omdet-turbo": "OmDetTurboProcessor",
    }
    pictures = transformers.AutoImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    getattr(transformers, classes[name])(pictures, tokenizer).save_pretrained(folder)


@each_zero_shot
@pytest.mark.parametrize("shape", [(48, 72), (90, 40)], ids=["wide", "tall"])
def test_zero_shot_is_what_transformers_tells(
    engine: Any, tiny_detectors: Path, shape: tuple[int, int]
) -> None:
    image, name = picture(6, *shape), engine.info.name
    folder = engine.pretrained.checkpoint.folder
    own_processor(folder, name)
    processor, inputs, output = own_output(engine, folder, image)
    sizes = {"target_sizes": [image.shape[:2]]}
    if name == "omdet-turbo":
        sizes["nms_threshold"] = 1.0  # type: ignore[assignment]  # another option of its own
    if "dino" in name or name == "llmdet":
        # It also takes the marks between phrases for words; a box of these answers no prompt.
        marks = torch.isin(inputs["input_ids"][0], torch.tensor([101, 102, 1012, 1029]))
        output.logits = output.logits.clone()
        output.logits[..., : len(marks)][..., marks] = -torch.inf
    for threshold in (0.0, 0.4):
        (expected,) = processor.post_process_grounded_object_detection(
            output, threshold=threshold, **sizes
        )
        (found,) = found_in(engine, [everything(image, WORDS, score_threshold=threshold)])
        wanted = theirs(expected["boxes"], expected["scores"], *image.shape[:2])
        np.testing.assert_allclose(rows(found), wanted, atol=1e-3)
        if "dino" in name or name == "llmdet" or len(wanted) < len(expected["labels"]):
            continue
        told = sorted(WORDS[int(index)] for index in expected["labels"])
        assert sorted(one.prompt for one in found) == told


@each_zero_shot
def test_several_prompts_are_answered_in_one_pass_each_by_its_name(engine: Any) -> None:
    model = engine.pretrained.model
    sees = {
        "owlv2": lambda: model.owlv2.vision_model,
        "grounding-dino": lambda: model.model.backbone,
        "llmdet": lambda: model.model.backbone,
        "omdet-turbo": lambda: model.vision_backbone,
    }[engine.info.name]()
    passes: list[int] = []
    hook = sees.register_forward_hook(lambda *_: passes.append(1))
    prompts = ("Cat", "Cat ", "red car", "person", "wheel of a dog")
    batch = [everything(picture(seed), prompts) for seed in range(4)]
    found = [one for of_picture in found_in(engine, batch) for one in of_picture]
    hook.remove()
    assert len(passes) == 1
    assert {one.prompt for one in found} <= {*prompts} - {"Cat "}
    assert len({one.prompt for one in found}) > 1
    assert all(one.label.lower() == one.prompt.lower() for one in found)


@each_zero_shot
def test_prompts_are_embedded_once(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = engine.pretrained.model
    encoder = {
        "owlv2": lambda: model.owlv2.text_model,
        "grounding-dino": lambda: model.model.text_backbone.embeddings,
        "llmdet": lambda: model.model.text_backbone.embeddings,
        "omdet-turbo": lambda: model.language_backbone.model,
    }[engine.info.name]()
    calls = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    words = ("a dog", "wheel", engine.info.name.split("-")[0])
    (first,) = found_in(engine, [everything(picture(1), words)])
    after_first = len(calls)
    found_in(engine, [everything(picture(seed), words) for seed in (2, 3)])
    (again,) = found_in(engine, [everything(picture(1), words)])
    hook.remove()
    assert 1 <= after_first <= 2 and len(calls) == after_first
    np.testing.assert_allclose(rows(first), rows(again), atol=1e-3)


def test_owlv2_answers_other_words_in_one_batch(engines: dict[str, Any]) -> None:
    engine = engines["owlv2"]
    requests = [everything(picture(1), ("cat",)), everything(picture(2), ("dog", "red car"))]
    for request, found in zip(requests, found_in(engine, requests), strict=True):
        (alone,) = found_in(engine, [request])
        np.testing.assert_allclose(rows(found), rows(alone), atol=1e-3)
        assert {one.prompt for one in found} <= set(request.prompts)


@each_closed
def test_words_are_looked_up_in_the_labels(engine: Any) -> None:
    (everyone,) = found_in(engine, [everything(picture(3))])
    asked = ("Traffic-lights", "all people", "the knives")
    (found,) = found_in(engine, [everything(picture(3), asked)])
    meant = dict(zip(("traffic light", "person", "knife"), asked, strict=True))
    assert [(one.label, one.prompt) for one in found] == [
        (one.label, meant[one.label]) for one in everyone if one.label in meant
    ]
    (of_class,) = found_in(engine, [everything(picture(3), classes=("person", "car"))])
    assert of_class == [one for one in everyone if one.label in ("person", "car")]
    (both,) = found_in(engine, [everything(picture(3), asked, classes=("person", "car"))])
    assert {one.label for one in both} <= {"person"}


@each_closed
@pytest.mark.parametrize("field", ["prompts", "classes"])
def test_word_that_is_no_label_is_refused(engine: Any, field: str) -> None:
    asked = {"prompts": (), "classes": (), field: ("car", "unicorn", "red car")}
    with pytest.raises(UnknownPromptError) as refused:
        engine.check(**asked)
    assert refused.value.unknown == ("unicorn", "red car")
    assert refused.value.field == field
    assert "car" in refused.value.known and "N/A" not in refused.value.known


@pytest.mark.parametrize(
    ("engine", "prompts", "index"),
    [
        pytest.param("owlv2", (), None, id="owlv2, none"),
        pytest.param("owlv2", ("cat", " "), 1, id="owlv2, an empty one"),
        pytest.param("owlv2", ("cat " * 20,), None, id="owlv2, too long"),
        pytest.param("grounding-dino", (), None, id="grounding-dino, none"),
        pytest.param("grounding-dino", ("...",), 0, id="grounding-dino, only marks of its own"),
        pytest.param("grounding-dino", ("cat " * 31,), None, id="grounding-dino, too long"),
        pytest.param(
            "llmdet", tuple("cat " * n for n in range(1, 9)), None, id="llmdet, too many together"
        ),
        pytest.param("omdet-turbo", ("\n",), 0, id="omdet-turbo, an empty one"),
        pytest.param("omdet-turbo", ("wheel " * 30,), None, id="omdet-turbo, too long"),
    ],
    indirect=["engine"],
)
def test_prompts_that_cannot_be_read_are_refused(
    engine: Any, prompts: tuple[str, ...], index: int | None
) -> None:
    with pytest.raises(BadPromptError, match=r"expected .* found") as refused:
        engine.check(prompts, ())
    assert refused.value.index == index


@each_zero_shot
def test_odd_words_are_only_words(engine: Any) -> None:
    odd = ("mr. smith?", "[SEP] <end>", "猫 🐈", "CAR")
    (found,) = found_in(engine, [everything(picture(4), odd)])
    assert {one.prompt for one in found} <= set(odd)


def test_omdet_takes_more_prompts_than_its_task_has_room_for(engines: dict[str, Any]) -> None:
    many = tuple(f"red car {number}" for number in range(64))
    (found,) = found_in(engines["omdet-turbo"], [everything(picture(1), many)])
    assert {one.prompt for one in found} <= set(many)


@each_zero_shot
def test_classes_keep_only_some_of_the_prompts(engine: Any) -> None:
    request = everything(picture(2), WORDS)
    (found,) = found_in(engine, [request])
    (some,) = found_in(engine, [dataclasses.replace(request, classes=("cat", "a dog"))])
    assert some == [one for one in found if one.prompt in ("cat", "a dog")]
    with pytest.raises(UnknownPromptError, match="horse"):
        engine.check(WORDS, ("horse",))


@each_engine
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 1), id="one pixel"),
        pytest.param((3, 3), id="as many rows as colours"),
        pytest.param((2, 300), id="a line"),
        pytest.param((300, 2), id="a column"),
        pytest.param((1, 2000), id="a line that is no line any more when it is shrunk"),
    ],
)
def test_odd_pictures_are_looked_at_too(engine: Any, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    (found,) = found_in(engine, [everything(image, words_for(engine))])
    for one in found:
        x_min, y_min, x_max, y_max = one.box_xyxy
        assert 0 <= x_min < x_max <= shape[1] and 0 <= y_min < y_max <= shape[0]


@each_engine
def test_unloaded_model_says_so_and_comes_back_the_same(engine: Any) -> None:
    request = everything(picture(3), words_for(engine))
    (before,) = found_in(engine, [request])
    engine.unload()
    assert not engine.loaded and engine.size_bytes > 0
    with pytest.raises(RuntimeError, match="expected to be loaded"):
        found_in(engine, [request])
    engine.load()
    (after,) = found_in(engine, [request])
    np.testing.assert_allclose(rows(after), rows(before), atol=1e-3)


@each_engine
def test_warm_up_needs_no_words_of_a_client(engine: Any) -> None:
    engine.warm_up()


@pytest.mark.parametrize(
    "name", ["TableTransformer", "ConditionalDetr", "DeformableDetr", "DabDetr", "Yolos"]
)
def test_other_architectures_of_fixed_classes_are_run_too(tmp_path: Path, name: str) -> None:
    from tests.detector.tiny_detectors import LABELS, tiny_other

    tiny_other(tmp_path / "models" / "mine", name)
    settings = DetectorSettings(data_dir=tmp_path, detector_device="cpu")
    found: dict[str, Any] = {engine.info.name: engine for engine in installed_engines(settings)}
    engine = found["mine"]
    engine.load()
    image = picture(1)
    with torch.inference_mode():
        output = engine.pretrained.model(
            **engine.pretrained.read(transformers.AutoImageProcessor)(
                images=image, return_tensors="pt"
            )
        )
    processor = engine.pretrained.read(transformers.AutoImageProcessor)
    (expected,) = processor.post_process_object_detection(output, threshold=0.0)
    ((first, *_),) = found_in(engine, [everything(image)])
    best = int(expected["scores"].argmax())
    assert first.score == pytest.approx(float(expected["scores"][best]), abs=1e-4)
    assert first.label == LABELS[int(expected["labels"][best])]


@pytest.mark.parametrize(
    ("device", "first"),
    [
        pytest.param("cpu", "omdet-turbo-swin-tiny", id="the quickest on a CPU"),
        pytest.param("cuda", "llmdet-tiny", id="the best on a GPU"),
    ],
)
def test_any_words_are_looked_for_by_what_suits_the_device(
    tmp_path: Path, tiny_detectors: Path, device: str, first: str
) -> None:
    for name, architecture in (
        ("grounding-dino-tiny", "grounding-dino"),
        ("omdet-turbo-swin-tiny", "omdet-turbo"),
        ("llmdet-tiny", "llmdet"),
    ):
        shutil.copytree(tiny_detectors / "models" / architecture, tmp_path / "models" / name)
    # Nothing is loaded, so the device need not be there.
    settings = DetectorSettings(data_dir=tmp_path, detector_device=device)
    assert installed_engines(settings).choose("auto", ["red car"]).engine.info.name == first
