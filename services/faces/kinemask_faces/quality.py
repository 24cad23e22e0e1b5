"""How good a face is for recognition, from its pixels and its landmarks alone.

Thresholds were set on portraits and film frames: a face of 32 px, a Gaussian blur of 3 px on a
115 px face and a turn of 60 degrees are about where vectors of one person stop agreeing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_faces.engines.base import DetectedFace, Image, Landmarks

MIN_SIZE_PX = 32.0
GOOD_SIZE_PX = 112.0
MIN_SHARPNESS = 0.2
GOOD_SHARPNESS = 0.6
MAX_YAW_DEG = 60.0
MAX_PITCH_DEG = 50.0
MIN_VISIBLE = 0.85

_PATCH_PX = 112
_PATCH_BORDER_PX = 8
# Laplacian variance over grey variance at which a face is half sharp; measured, see above.
_HALF_SHARP = 0.02
_GREY_NOISE = 20.0
# A plain head: in half distances between the eyes, the tip of the nose lies this far in front of
# them; of the way from eyes to mouth it lies this far down, and this far in front.
_NOSE_OUT = 1.0
_NOSE_DOWN = 0.58
_NOSE_OUT_DOWN = 0.5
# A face reaches this far from the middle of its landmarks, in their mean distance from it.
_REACH = 1.9


class FaceProblem(Enum):
    """Why a face is too poor to be enrolled."""

    TOO_SMALL = "TOO_SMALL"
    TOO_BLURRED = "TOO_BLURRED"
    TURNED_AWAY = "TURNED_AWAY"
    CUT_OFF = "CUT_OFF"


@dataclass(frozen=True)
class FaceQuality:
    """What `assess` finds."""

    score: float
    """All in all, 0..1."""
    size_px: float
    """The shorter side of its box."""
    sharpness: float
    """Detail, 0..1."""
    yaw_deg: float
    """Turned to its left (positive) or right, -90..90."""
    pitch_deg: float
    """Turned up (positive) or down, -90..90."""
    roll_deg: float
    """Tilted clockwise (positive) in the picture, -180..180."""
    visible: float
    """Share of it inside the picture, 0..1."""
    problem: FaceProblem | None


def assess(image: Image, face: DetectedFace) -> FaceQuality:
    """The quality of a face found in `(H, W, 3)` uint8 RGB."""
    x_min, y_min, x_max, y_max = face.box_xyxy
    size_px = min(x_max - x_min, y_max - y_min)
    sharpness = _sharpness(image, face)
    yaw, pitch, roll = pose_deg(face.landmarks_xy)
    visible = _visible(face.landmarks_xy, image.shape[0], image.shape[1])
    return FaceQuality(
        score=_score(size_px, sharpness, yaw, pitch, visible),
        size_px=size_px,
        sharpness=sharpness,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        visible=visible,
        problem=_problem(size_px, sharpness, yaw, pitch, visible),
    )


def pose_deg(landmarks_xy: Landmarks) -> tuple[float, float, float]:
    """Yaw, pitch and roll by a rigid head of five points; good to about ten degrees."""
    points = landmarks_xy.astype(np.float64)
    right_eye, left_eye = points[0], points[1]
    across = left_eye - right_eye
    roll = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    upright = (points - (right_eye + left_eye) / 2) @ turn.T  # eyes on the x axis
    mouth = (upright[3] + upright[4]) / 2
    nose = upright[2]
    down = mouth[1] if abs(mouth[1]) > 1e-6 else 1e-6
    half_eyes = max(float(np.hypot(*across)) / 2, 1e-6)
    # The nose against the line from between the eyes to the middle of the mouth.
    aside = nose[0] - mouth[0] * nose[1] / down
    yaw = math.atan2(aside / half_eyes, _NOSE_OUT)
    pitch = math.atan2(_NOSE_DOWN - nose[1] / down, _NOSE_OUT_DOWN)
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _sharpness(image: Image, face: DetectedFace) -> float:
    patch = _grey_patch(image, face)
    if patch is None:
        return 0.0
    inner = slice(_PATCH_BORDER_PX, -_PATCH_BORDER_PX)
    edges = cv2.Laplacian(patch, cv2.CV_32F)[inner, inner]
    # Against its own contrast: a face in the dark is not a blurred one.
    detail = float(edges.var() / (patch.var() + _GREY_NOISE))
    return detail / (detail + _HALF_SHARP)


def _grey_patch(image: Image, face: DetectedFace) -> NDArray[np.float32] | None:
    """The box as `(112, 112)` float32 in 0..255; None if no pixel is in it."""
    height, width = image.shape[:2]
    left, top, right, bottom = np.clip(face.box_xyxy, 0, [width, height, width, height])
    part = image[round(top) : round(bottom), round(left) : round(right)]
    if part.size == 0:
        return None
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    larger = min(grey.shape) > _PATCH_PX
    way = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (_PATCH_PX, _PATCH_PX), interpolation=way), np.float32)


def _visible(landmarks_xy: Landmarks, height: int, width: int) -> float:
    """Share of the square around the landmarks that lies in the picture."""
    middle = landmarks_xy.mean(axis=0)
    reach = _REACH * float(np.linalg.norm(landmarks_xy - middle, axis=1).mean())
    if not np.isfinite(reach) or reach <= 0:
        return 0.0
    low = np.clip(middle - reach, 0, [width, height])
    high = np.clip(middle + reach, 0, [width, height])
    return float(np.prod(high - low) / (2 * reach) ** 2)


def _score(
    size_px: float, sharpness: float, yaw_deg: float, pitch_deg: float, visible: float
) -> float:
    """The geometric mean of how good each is: one bad thing is not made good by the others."""
    parts = (
        min(size_px / GOOD_SIZE_PX, 1.0),
        min(sharpness / GOOD_SHARPNESS, 1.0),
        math.cos(math.radians(yaw_deg)) * math.cos(math.radians(pitch_deg)),
        visible,
    )
    return float(np.prod([max(part, 0.0) for part in parts]) ** (1 / len(parts)))


def _problem(
    size_px: float, sharpness: float, yaw_deg: float, pitch_deg: float, visible: float
) -> FaceProblem | None:
    if visible < MIN_VISIBLE:
        return FaceProblem.CUT_OFF
    if size_px < MIN_SIZE_PX:
        return FaceProblem.TOO_SMALL
    if abs(yaw_deg) > MAX_YAW_DEG or abs(pitch_deg) > MAX_PITCH_DEG:
        return FaceProblem.TURNED_AWAY
    if sharpness < MIN_SHARPNESS:
        return FaceProblem.TOO_BLURRED
    return None
