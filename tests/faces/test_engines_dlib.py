"""dlib's vectors: alignment, batches, and people told apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
from kinemask_faces.engines.base import FaceModel
from kinemask_faces.engines.dlib_embedder import DlibEmbedder
from kinemask_faces.engines.dlib_hog import DlibHog
from kinemask_faces.engines.registry import ModelFiles, load_models

from tests.faces.face_graphs import read_rgb

JOHNS = Path("../shared/data/faces/johns")


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_models(ModelFiles(threads=1)).default


@pytest.fixture(scope="module")
def people() -> list[list[np.ndarray]]:
    """Three pictures of each of three people, with room around the face."""
    if not JOHNS.is_dir():
        pytest.skip(f"measurement data is not there: {JOHNS}")
    folders = sorted(path for path in JOHNS.iterdir() if path.is_dir())[:3]
    return [[padded(path) for path in sorted(folder.glob("*.jpg"))[:3]] for folder in folders]


def padded(path: Path) -> np.ndarray:
    rgb = read_rgb(path)
    return np.asarray(cv2.copyMakeBorder(rgb, 75, 75, 75, 75, cv2.BORDER_REPLICATE), np.uint8)


def vector(model: FaceModel, picture: np.ndarray) -> np.ndarray:
    [[face]] = model.detect([picture], 0.6)
    row: np.ndarray = model.embed([model.align(picture, face.landmarks_xy)])[0]
    return row


def test_one_person_is_alike_and_two_are_not(
    model: FaceModel, people: list[list[np.ndarray]]
) -> None:
    vectors = np.array([[vector(model, picture) for picture in person] for person in people])
    alike = np.einsum("aid,bjd->aibj", vectors, vectors)
    for a in range(len(people)):
        for b in range(len(people)):
            block = alike[a, :, b, :]
            if a == b:
                assert block.min() >= model.info.match_threshold
            else:
                assert block.max() < model.info.match_threshold


def test_a_face_that_lies_on_its_side_gives_the_same_vector(
    model: FaceModel, people: list[list[np.ndarray]]
) -> None:
    picture = people[0][0]
    [[face]] = model.detect([picture], 0.6)
    turn = cv2.getRotationMatrix2D((150, 150), 80, 1.0)
    turned = np.asarray(
        cv2.warpAffine(picture, turn, (300, 300), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    landmarks = (face.landmarks_xy @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    there = model.embed([model.align(turned, landmarks)])[0]
    assert float(there @ vector(model, picture)) > 0.98


def test_alignment_agrees_with_dlibs_own_way(
    model: FaceModel, people: list[list[np.ndarray]]
) -> None:
    picture = people[1][0]
    embedder = DlibEmbedder()
    box = max(dlib.get_frontal_face_detector()(picture, 1), key=lambda found: found.area())
    theirs = dlib.get_face_chip(picture, embedder._predictor(picture, box), 150, 0.25)
    assert float(model.embed([theirs])[0] @ vector(model, picture)) > 0.98


def test_a_batch_is_as_good_as_one_by_one(model: FaceModel) -> None:
    rng = np.random.default_rng(2)
    cuts = [rng.integers(0, 256, (150, 150, 3), np.uint8) for _ in range(3)]
    together = model.embed(cuts)
    assert together.shape == (3, 128) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[1], model.embed([cuts[1]])[0], atol=1e-4)
    assert model.embed([]).shape == (0, 128)


def test_a_cut_of_another_model_is_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match=r"expected a cut of \(150, 150, 3\)"):
        model.embed([np.zeros((112, 112, 3), np.uint8)])


def test_landmarks_that_are_all_one_point_are_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match="landmarks that differ"):
        model.align(np.zeros((50, 50, 3), np.uint8), np.zeros((5, 2), np.float32))


def test_warm_up_needs_no_face(model: FaceModel) -> None:
    model.warm_up()
    assert model.info.name == "dlib" and model.info.dimensions == 128


def test_hog_agrees_with_yunet_on_a_frontal_face(
    model: FaceModel, people: list[list[np.ndarray]]
) -> None:
    picture = people[2][0]
    [[ours]], [[theirs]] = model.detect([picture], 0.6), DlibHog().detect([picture], 0.0)
    between_eyes = float(np.linalg.norm(ours.landmarks_xy[0] - ours.landmarks_xy[1]))
    apart = np.linalg.norm(ours.landmarks_xy - theirs.landmarks_xy, axis=1)
    assert apart.max() < 0.35 * between_eyes
