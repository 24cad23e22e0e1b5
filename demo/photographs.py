"""The photographs of the demo's clip and the things cut out of them.

They ship inside the package scikit-image and are in the public domain or CC0:
`astronaut` (NASA: Eileen Collins), `coffee` (Rachel Michetti), `rocket` (SpaceX).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Outline = tuple[tuple[int, int], ...]

# (x, y) in pixels of the photograph, drawn by hand, clockwise.
_ASTRONAUT: Outline = (
    (20, 520), (20, 400), (25, 345), (42, 290), (65, 250), (92, 228), (114, 206), (114, 188),
    (125, 165), (145, 152), (172, 148), (184, 150), (181, 131), (170, 123), (162, 108), (155, 85),
    (154, 65), (165, 50), (185, 37), (200, 25), (220, 17), (240, 16), (265, 22), (283, 35),
    (295, 52), (302, 80), (300, 100), (290, 120), (278, 131), (269, 138), (265, 155), (256, 172),
    (280, 192), (298, 215), (305, 237), (325, 247), (342, 267), (352, 295), (361, 325), (364, 345),
    (395, 343), (425, 348), (455, 370), (480, 400), (493, 430), (498, 455), (505, 460), (520, 470),
    (520, 520),
)  # fmt: skip
_SPOON: Outline = ((394, 76), (407, 66), (420, 68), (425, 80), (416, 118), (400, 130))
# Centre and half axes of the face from chin to hairline, of the saucer and of the cup's rim.
_FACE = ((225, 131), (45, 55))
_SAUCER = ((278, 220), (201, 169))
_RIM = ((290, 113), (118, 95))
# How far from the hand-drawn line the true edge may be.
_UNSURE_PX = 7


@dataclass(frozen=True)
class Cutout:
    """A thing cut out of its photograph."""

    layers: NDArray[np.float32]
    """(H, W, 4): red, green and blue times alpha, and alpha, 0..1: how much of a pixel is the
    thing's, soft at its edge. Weighted, so that resampling mixes in nothing from outside."""
    face: Mask
    """(H, W): its face, all False if it has none."""


@cache
def astronaut() -> Cutout:
    """The person, from head to waist, (512, 512)."""
    photograph = _photograph("astronaut.png")
    drawn = _filled(photograph, _ASTRONAUT)
    found = _refined(photograph, drawn)
    return _cut(photograph, found, _ellipse(photograph, *_FACE))


@cache
def coffee() -> Cutout:
    """The cup on its saucer, (400, 600)."""
    photograph = _photograph("coffee.png")
    shape = _ellipse(photograph, *_SAUCER) | _ellipse(photograph, *_RIM)
    shape |= _filled(photograph, _SPOON)
    return _cut(photograph, shape, np.zeros(shape.shape, bool))


@cache
def launch_pad() -> Rgb:
    """A rocket on its pad at dusk, (427, 640, 3)."""
    return _photograph("rocket.jpg")


def _photograph(name: str) -> Rgb:
    """A file of the package, decoded; its own loader would download one that is missing."""
    data = (files("skimage") / "data" / name).read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(
            f"expected scikit-image's {name} to be a picture, but it cannot be decoded"
        )
    return np.asarray(pixels[..., ::-1], np.uint8)


def _refined(photograph: Rgb, drawn: Mask) -> Mask:
    """The drawn shape with its edge where the colours change (GrabCut, Rother et al. 2004)."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _UNSURE_PX + 1,) * 2)
    inside = cv2.erode(drawn.astype(np.uint8), kernel, borderValue=1)
    around = cv2.dilate(drawn.astype(np.uint8), kernel)
    labels = np.where(around == 0, cv2.GC_BGD, np.where(drawn, cv2.GC_PR_FGD, cv2.GC_PR_BGD))
    labels = np.where(inside == 1, cv2.GC_FGD, labels).astype(np.uint8)
    unused, models = (0, 0, 1, 1), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(0)
    image = np.ascontiguousarray(photograph[..., ::-1])
    cv2.grabCut(image, labels, unused, *models, 3, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _cut(photograph: Rgb, shape: Mask, face: Mask) -> Cutout:
    """Cut a little inside of the edge, softly, so that nothing of the old background is seen."""
    smooth = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.5)
    alpha = np.clip((smooth - 0.55) / 0.35, 0, 1).astype(np.float32)
    return Cutout(np.dstack([photograph * alpha[..., None], alpha]), face & shape)


def _filled(photograph: Rgb, outline: Outline) -> Mask:
    canvas = np.zeros(photograph.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.array(outline, np.int32)], 1)
    return canvas.astype(bool)


def _ellipse(photograph: Rgb, center: tuple[int, int], axes: tuple[int, int]) -> Mask:
    canvas = np.zeros(photograph.shape[:2], np.uint8)
    cv2.ellipse(canvas, center, axes, 0, 0, 360, 1, cv2.FILLED)
    return canvas.astype(bool)
