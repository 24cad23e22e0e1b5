"""What makes a face too poor, and that the score falls with each of it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from kinemask_faces.engines.base import DetectedFace
from kinemask_faces.quality import FaceProblem, FaceQuality, assess, pose_deg

# Right eye, left eye, nose, corners of the mouth; x to the person's left, y down, z to the front;
# in half distances between the eyes.
HEAD = np.array([[-1, 0, 0], [1, 0, 0], [0, 1.16, 1], [-0.8, 2, 0], [0.8, 2, 0]], float)


def seen(yaw_deg: float = 0, pitch_deg: float = 0, roll_deg: float = 0) -> np.ndarray:
    """The head's landmarks from the front, `(5, 2)`; 30 px between middle and eye."""
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw_deg, pitch_deg, roll_deg))
    x, y, z = HEAD.T
    x, z = x * math.cos(yaw) + z * math.sin(yaw), z * math.cos(yaw) - x * math.sin(yaw)
    y = y * math.cos(pitch) - z * math.sin(pitch)
    flat = np.stack([x, y], axis=1)
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    return np.asarray(30 * flat @ turn.T + [150, 120], np.float32)


def quality(
    landmarks: np.ndarray | None = None, side_px: int = 120, blur_px: float = 0, shift_px: int = 0
) -> FaceQuality:
    """Of a tiled face in a 300 x 300 picture, `shift_px` to the left of the middle."""
    tiles = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    picture = np.kron(tiles, np.ones((25, 25, 1), np.uint8))
    if blur_px:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur_px), np.uint8)
    marks = seen() if landmarks is None else landmarks
    marks = (marks - [150, 150]) * (side_px / 120) + [150 - shift_px, 150]
    low, high = 150 - side_px / 2, 150 + side_px / 2
    box = (max(low - shift_px, 0.0), low, high - shift_px, high)
    return assess(picture, DetectedFace(box, 0.9, marks.astype(np.float32)))


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [
        pytest.param(0, 0, 0, id="straight ahead"),
        pytest.param(35, 0, 0, id="to its left is positive"),
        pytest.param(-35, 0, 0, id="to its right is negative"),
        pytest.param(0, 25, 0, id="up is positive"),
        pytest.param(0, -25, 0, id="down is negative"),
        pytest.param(0, 0, 40, id="clockwise is positive"),
        pytest.param(20, 0, -100, id="lying down"),
    ],
)
def test_pose_is_read_off_the_landmarks(yaw: float, pitch: float, roll: float) -> None:
    found = pose_deg(seen(yaw, pitch, roll))
    np.testing.assert_allclose(found, (yaw, pitch, roll), atol=10)


def test_a_good_face_has_no_problem() -> None:
    good = quality()
    assert good.problem is None and good.score > 0.9 and good.size_px == 120


@pytest.mark.parametrize(
    ("poor", "problem"),
    [
        pytest.param(quality(side_px=24), FaceProblem.TOO_SMALL, id="24 px"),
        pytest.param(quality(blur_px=6), FaceProblem.TOO_BLURRED, id="nothing but blur"),
        pytest.param(quality(seen(yaw_deg=75)), FaceProblem.TURNED_AWAY, id="a profile"),
        pytest.param(quality(seen(yaw_deg=-75)), FaceProblem.TURNED_AWAY, id="the other profile"),
        pytest.param(quality(shift_px=140), FaceProblem.CUT_OFF, id="half of it is outside"),
    ],
)
def test_a_poor_face_says_why(poor: FaceQuality, problem: FaceProblem) -> None:
    assert poor.problem is problem
    assert poor.score < quality().score


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((10.0, 10.0, 10.0, 10.0), id="an empty box"),
        pytest.param((-50.0, -50.0, -10.0, -10.0), id="a box outside"),
        pytest.param((299.0, 299.0, 300.0, 300.0), id="one pixel"),
    ],
)
def test_strange_boxes_are_poor_and_do_not_raise(
    box: tuple[float, float, float, float],
) -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    found = assess(picture, DetectedFace(box, 0.5, np.zeros((5, 2), np.float32)))
    assert found.problem is not None and math.isfinite(found.score) and found.score < 0.1
