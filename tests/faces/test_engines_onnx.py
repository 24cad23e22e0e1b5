"""ONNX face models: hashes, licences, batches, and what the graphs say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemask_chassis.errors import ServiceError
from kinemask_faces.engines.onnx_embedders import SFACE, OnnxEmbedder
from kinemask_faces.engines.onnx_files import OnnxGraph, WrongWeightsError, verified
from kinemask_faces.engines.registry import ModelFiles, load_models
from kinemask_faces.engines.scrfd import Scrfd
from kinemask_faces.engines.yunet import YUNET_SHA256S, YuNet, packaged_yunet

from tests.faces import face_graphs

DATA = Path("../shared/data")
REAL_YUNET = DATA / "models" / "yunet_n_320_320.onnx"


def cuts(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("batch", "notice"),
    [
        pytest.param("n", "", id="a graph with a free batch takes all faces at once"),
        pytest.param(1, "one face at a time", id="the released SFace takes one, and says so"),
    ],
)
def test_an_embedder_gives_unit_rows_however_its_graph_takes_them(
    tmp_path: Path, batch: int | str, notice: str
) -> None:
    path, sha256 = face_graphs.save(face_graphs.embedder(batch, 16), tmp_path / "e.onnx")
    embedder = OnnxEmbedder(OnnxGraph(verified(path, [sha256]), "cpu", 1), SFACE)
    faces = cuts(3)
    together = embedder.embed(faces)
    alone = np.concatenate([embedder.embed([face]) for face in faces])
    assert together.shape == (3, 16) and embedder.dimensions == 16
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert notice in embedder.notice and bool(notice) == bool(embedder.notice)
    assert embedder.embed([]).shape == (0, 16)


def test_an_embedder_puts_the_landmarks_on_its_template(tmp_path: Path) -> None:
    path, sha256 = face_graphs.save(face_graphs.embedder("n", 8), tmp_path / "e.onnx")
    embedder = OnnxEmbedder(OnnxGraph(verified(path, [sha256]), "cpu", 1), SFACE)
    picture = np.zeros((400, 400, 3), np.uint8)
    template = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
    turn = cv2.getRotationMatrix2D((56, 56), 70, 2.0)
    marks = template @ turn[:, :2].T + turn[:, 2] + [130, 120]
    for x, y in marks:
        cv2.circle(picture, (round(x), round(y)), 4, (255, 255, 255), -1)
    cut = embedder.align(picture, marks.astype(np.float32))
    assert cut.shape == (112, 112, 3)
    assert all(cut[round(y), round(x)].min() > 200 for x, y in template)


def test_a_wrong_hash_refuses_and_says_both(tmp_path: Path) -> None:
    path, sha256 = face_graphs.save(face_graphs.embedder("n", 8), tmp_path / "sface.onnx")
    with pytest.raises(WrongWeightsError, match=sha256) as caught:
        load_models(ModelFiles(sface=path))
    assert SFACE.sha256s[0] in str(caught.value)


def test_a_file_that_is_named_and_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_models(ModelFiles(sface=tmp_path / "nowhere.onnx"))


def test_models_come_best_first_and_the_missing_say_how(tmp_path: Path) -> None:
    sface, first = face_graphs.save(face_graphs.embedder(1, 128), tmp_path / "sface.onnx")
    arcface, second = face_graphs.save(face_graphs.embedder("n", 512), tmp_path / "arc.onnx")
    scrfd, third = face_graphs.save(face_graphs.scrfd(), tmp_path / "scrfd.onnx")
    files = ModelFiles(
        sface=sface, arcface=arcface, scrfd=scrfd, trusted_sha256s=(first, second, third)
    )
    refused = load_models(files)
    assert list(refused.models) == ["yunet-sface", "dlib"]
    with pytest.raises(ServiceError, match="non-commercial") as caught:
        refused.choose("scrfd-arcface")
    assert caught.value.reason == "LICENCE_NOT_ACCEPTED"
    accepted = load_models(ModelFiles(**(vars(files) | {"accept_noncommercial_licence": True})))
    assert list(accepted.models) == ["scrfd-arcface", "yunet-sface", "dlib"]
    assert accepted.choose("auto").model.info.dimensions == 512


def test_without_weights_only_dlib_runs() -> None:
    models = load_models(ModelFiles())
    assert list(models.models) == ["dlib"]
    for name, reason in (("yunet-sface", "WEIGHTS_MISSING"), ("eigenfaces", "UNKNOWN_MODEL")):
        with pytest.raises(ServiceError) as caught:
            models.choose(name)
        assert caught.value.reason == reason


def test_scrfd_looks_twice_and_stays_inside_the_picture(tmp_path: Path) -> None:
    path, sha256 = face_graphs.save(face_graphs.scrfd(), tmp_path / "scrfd.onnx")
    detector = Scrfd(OnnxGraph(verified(path, [sha256]), "cpu", 1))
    picture = np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8)
    [faces] = detector.detect([picture], 0.3)
    assert faces
    for face in faces:
        left, top, right, bottom = face.box_xyxy
        assert 0 <= left < right <= 160 and 0 <= top < bottom <= 90
        assert 0.3 <= face.score <= 1 and face.landmarks_xy.shape == (5, 2)


def test_scrfd_without_landmarks_is_refused(tmp_path: Path) -> None:
    path, sha256 = face_graphs.save(face_graphs.embedder("n", 8), tmp_path / "e.onnx")
    with pytest.raises(ValueError, match="expected 9 outputs"):
        Scrfd(OnnxGraph(verified(path, [sha256]), "cpu", 1))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(packaged_yunet(), id="OpenCV's release at 640"),
        pytest.param(REAL_YUNET, id="the authors' release at 320"),
    ],
)
def test_yunet_finds_small_and_frame_filling_faces_where_they_are(path: Path) -> None:
    portrait_file = DATA / "faces" / "hamilton" / "lin-manuel-miranda.png"
    if not path.is_file() or not portrait_file.is_file():
        pytest.skip(f"measurement data is not there: {path}, {portrait_file}")
    portrait = face_graphs.read_rgb(portrait_file)
    detector = YuNet(OnnxGraph(verified(path, YUNET_SHA256S), "cpu", 1))
    [[whole]] = detector.detect([portrait], 0.6)
    x_min, y_min, x_max, y_max = (round(side) for side in whole.box_xyxy)
    filling = np.ascontiguousarray(portrait[y_min:y_max, x_min:x_max])
    scene = np.full((600, 900, 3), 90, np.uint8)
    scene[100:300, 500:730] = cv2.resize(portrait, (230, 200), interpolation=cv2.INTER_AREA)
    [in_frame], [in_scene] = detector.detect([filling, scene], 0.6)
    assert in_frame.box_xyxy[2] - in_frame.box_xyxy[0] > 0.8 * filling.shape[1]
    expected = whole.landmarks_xy * [230 / 704, 200 / 612] + [500, 100]
    np.testing.assert_allclose(in_scene.landmarks_xy, expected, atol=5)
    assert detector.detect([], 0.6) == []


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 1, 3), id="one pixel"),
        pytest.param((2, 5000, 3), id="a strip"),
        pytest.param((4000, 3, 3), id="a standing strip"),
    ],
)
def test_odd_pictures_have_no_face(shape: tuple[int, int, int]) -> None:
    detector = YuNet(OnnxGraph(verified(packaged_yunet(), YUNET_SHA256S), "cpu", 1))
    assert detector.detect([np.full(shape, 128, np.uint8)], 0.6) == [[]]


def test_cuda_that_is_not_there_is_said() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    with pytest.raises(ValueError, match="CUDA provider"):
        load_models(ModelFiles(device="cuda"))
