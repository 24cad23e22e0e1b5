"""What happens inside one region. Every painter writes to its pixels in place and to no others."""

from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Final, TypeAlias

import cv2
import numpy as np

from kinemask.effects._region import Region, Weights
from kinemask.effects._types import Color
from kinemask.images import Image

Painter: TypeAlias = Callable[[Image, Region, Color, float], None]
"""(image `(H, W, 3)` uint8 RGB to write to, region, colour, intensity 0..1)."""

_MOST_CELLS: Final = 24  # along the longer side, at intensity 0
_FEWEST_CELLS: Final = 3  # at intensity 1
_SMALLEST_CELL_PX: Final = 4.0
_THICKEST: Final = 0.01  # outline at intensity 1, as a share of the frame's shorter side
_THINNEST_PX: Final = 1.5


def paint_blur(image: Image, region: Region, color: Color, intensity: float) -> None:
    """Averages, blurred once more among themselves and enlarged smoothly: scales with the object,
    and nothing finer than an average is left to sharpen."""
    pixels = region.of(image)
    small = cv2.GaussianBlur(_averages(pixels, intensity), (3, 3), 0, borderType=cv2.BORDER_REFLECT)
    height, width = pixels.shape[:2]
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.copyTo(smooth, region.inside, pixels)


def paint_pixelate(image: Image, region: Region, color: Color, intensity: float) -> None:
    """The same averages as squares."""
    pixels = region.of(image)
    height, width = pixels.shape[:2]
    mosaic = cv2.resize(
        _averages(pixels, intensity), (width, height), interpolation=cv2.INTER_NEAREST
    )
    cv2.copyTo(mosaic, region.inside, pixels)


def paint_solid(image: Image, region: Region, color: Color, intensity: float) -> None:
    """One colour, its brightness scaled by the intensity; reads nothing of what it covers."""
    pixels = region.of(image)
    red, green, blue = (round(channel * intensity) for channel in color)
    cv2.copyTo(_filled(pixels, (red, green, blue)), region.inside, pixels)


def paint_tint(image: Image, region: Region, color: Color, intensity: float) -> None:
    """The colour over the pixels, as opaque as the intensity."""
    pixels = region.of(image)
    tinted = cv2.addWeighted(pixels, 1 - intensity, _filled(pixels, color), intensity, 0)
    cv2.copyTo(tinted, region.inside, pixels)


def paint_outline(image: Image, region: Region, color: Color, intensity: float) -> None:
    """A line along the inner side of the region's edge, anti-aliased towards both sides."""
    thickness_px = outline_px(intensity, *image.shape[:2])
    pixels = region.of(image)
    opacity = line_opacity(region.inside, thickness_px)
    found = cv2.findNonZero(opacity)  # (N, 1, 2): x, y
    if found is None:
        return
    where = found[:, 0, 1], found[:, 0, 0]
    under = pixels[where].astype(np.float32)  # (N, 3)
    share = opacity[where].astype(np.float32)[:, None] / 255
    pixels[where] = np.rint(under + (np.array(color, np.float32) - under) * share).astype(np.uint8)


def _filled(like: Image, color: Color) -> Image:
    """An image of one colour; OpenCV fills many times quicker than NumPy broadcasts three bytes."""
    fill = np.empty(like.shape, np.uint8)
    cv2.rectangle(fill, (0, 0), (like.shape[1], like.shape[0]), color, cv2.FILLED)
    return fill


def averages_size(height: int, width: int, intensity: float) -> tuple[int, int]:
    """How many averages, across and down, stand for a region of this size: nearly square, from
    _MOST_ to _FEWEST_CELLS along the longer side."""
    cells = _MOST_CELLS * (_FEWEST_CELLS / _MOST_CELLS) ** intensity
    cell_px = max(max(height, width) / cells, _SMALLEST_CELL_PX)
    return max(round(width / cell_px), 1), max(round(height / cell_px), 1)


def outline_px(intensity: float, height: int, width: int) -> float:
    """The thickness of an outline in a frame of this size."""
    return max(intensity * _THICKEST * min(height, width), _THINNEST_PX)


def _averages(pixels: Image, intensity: float) -> Image:
    """`(H, W, 3)` to a few averages."""
    height, width = pixels.shape[:2]
    size = averages_size(height, width, intensity)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def line_opacity(inside: Weights, thickness_px: float) -> Weights:
    """`(h, w)` uint8 opacity of the line, 0 wherever `inside` is.

    A blurred mask tells the distance to its edge: on a straight edge it is the normal
    distribution's integral, so its inverse turns grey values into distances, and where the mask's
    edge is ragged the distance is already smooth. (The idea of distance-field anti-aliasing:
    Green, "Improved Alpha-Tested Magnification for Vector Textures", SIGGRAPH 2007.)
    """
    sigma_px = max(0.6 * thickness_px, 1.2)
    # Beyond the region all is outside, at the frame's border too, so that the line closes there.
    margin = int(3 * sigma_px) + 1
    padded = cv2.copyMakeBorder(inside, *(margin,) * 4, cv2.BORDER_CONSTANT, value=(0,))
    blurred = cv2.GaussianBlur(padded, (0, 0), sigma_px)[margin:-margin, margin:-margin]
    opacity = cv2.LUT(blurred, _line_table(thickness_px, sigma_px))
    return np.asarray(cv2.bitwise_and(opacity, inside), np.uint8)


@lru_cache(maxsize=64)
def _line_table(thickness_px: float, sigma_px: float) -> Weights:
    """Opacity by blurred value: half for the outermost pixels (whose centres lie half a pixel
    inside a straight edge), then full for the thickness, then fading out within a pixel."""
    normal = NormalDist(0, sigma_px)
    inner_px = np.array([normal.inv_cdf((value + 0.5) / 256) for value in range(256)])
    opacity = np.clip(inner_px, 0, 1) * np.clip(thickness_px + 1 - inner_px, 0, 1)
    return np.asarray(np.rint(255 * opacity), np.uint8)
