"""The demo's scene: a person before a launch pad, coming, going and leaning; a cup flies behind.

Every frame comes with the truth: which pixels are the face, the person and the cup.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.photographs import Cutout, Mask, Rgb, astronaut, coffee, launch_pad

WIDTH_PX = 854
HEIGHT_PX = 480
FPS = 25
FRAMES = 200

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class SceneFrame:
    """One picture and what is where in it."""

    image: Rgb
    """(480, 854, 3)."""
    face: Mask
    """(480, 854): the face from chin to hairline, hair and ears left out."""
    person: Mask
    """(480, 854)."""
    cup: Mask
    """(480, 854): the cup, where the person is not before it."""


def scene_frame(index: int) -> SceneFrame:
    """Frame `index`, 0..199; the same at every call.

    Raises:
        IndexError: there is no such frame.
    """
    if not 0 <= index < FRAMES:
        raise IndexError(f"expected a frame of 0..{FRAMES - 1}, got {index}")
    turn = 2 * math.pi * index / FRAMES
    canvas = _warped(launch_pad().astype(np.float32), _camera(turn), cv2.BORDER_REPLICATE)
    canvas, cup = _laid_over(canvas, coffee(), _cup(index / FRAMES))
    canvas, person = _laid_over(canvas, astronaut(), _person(turn))
    face = _warped(astronaut().face.astype(np.float32), _person(turn)) > 0.5
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return SceneFrame(image, face & person, person, cup & ~person)


def _camera(turn: float) -> Matrix:
    """A slow pan over the launch pad, with a little zoom."""
    scale = 1.50 + 0.05 * math.cos(turn)
    return _placed((320, 230), (427 + 22 * math.sin(turn), 240), scale, 0.0)


def _person(turn: float) -> Matrix:
    """From side to side and back, nearer and farther, the head leaning with the motion."""
    scale = 0.84 + 0.14 * math.sin(2 * turn + 1.0)
    x_px = 430 + 170 * math.sin(turn)
    angle_deg = 6.0 * math.sin(2 * turn)
    # The photograph ends at the waist: its lower edge stays below the picture's.
    return _placed((256, 512), (x_px, HEIGHT_PX + 42), scale, angle_deg)


def _cup(progress: float) -> Matrix:
    """From left to right on an arc, turning, growing to the middle."""
    x_px = -90 + (WIDTH_PX + 180) * progress
    y_px = 250 - 150 * math.sin(math.pi * progress)
    scale = 0.22 + 0.10 * math.sin(math.pi * progress)
    return _placed((290, 200), (x_px, y_px), scale, 40.0 * math.sin(2 * math.pi * progress))


def _placed(
    anchor: tuple[float, float], at: tuple[float, float], scale: float, angle_deg: float
) -> Matrix:
    """(2, 3): scale and turn about `anchor` of the photograph, which comes to lie at `at`."""
    matrix = np.asarray(cv2.getRotationMatrix2D(anchor, angle_deg, scale), np.float64)
    matrix[:, 2] += np.subtract(at, anchor)
    return matrix


def _laid_over(
    canvas: NDArray[np.float32], thing: Cutout, matrix: Matrix
) -> tuple[NDArray[np.float32], Mask]:
    """The canvas with the thing before it, and the pixels that are mostly the thing's."""
    layers = _warped(thing.layers, matrix)
    alpha = layers[..., 3]
    return canvas * (1 - alpha[..., None]) + layers[..., :3], alpha > 0.5


def _warped(
    source: NDArray[np.float32], matrix: Matrix, border: int = cv2.BORDER_CONSTANT
) -> NDArray[np.float32]:
    """Resampled onto the canvas; smoothed first where it shrinks a lot, against flicker."""
    shrink = math.hypot(matrix[0, 0], matrix[0, 1])
    if shrink < 0.5:
        source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.4 / shrink), np.float32)
    size = (WIDTH_PX, HEIGHT_PX)
    warped = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.float32)
