"""A frame in working form: Lab at the working size and packed per-pixel features.

Features are bytes in groups of four, so that one `take` of a 32-bit word fetches a whole group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.base import Image
from kinemask_segmenter.engines.flow.config import FlowConfig

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_NEAR_PX, _FAR_PX = 12, 30
_CROSS = 4  # right, left, below, above
# Bytes of one group: three of Lab and one of texture; the first two groups are read at the pixel.
_GROUP_OFFSET = (128.0, 128.0, 128.0, 10.0)
_GROUP_SCALE = (1 / 50, 1 / 20, 1 / 20, 1 / 15)
_EDGE_OFFSET = (0.0, 0.0, 128.0, 10.0)
_EDGE_SCALE = (1 / 40, 1 / 40, 1 / 50, 1 / 15)

FEATURES = 4 * (4 + 2 * _CROSS)
OFFSET: Floats = np.array(_GROUP_OFFSET * 3 + _EDGE_OFFSET + _GROUP_OFFSET * 2 * _CROSS, np.float32)
SCALE: Floats = np.array(_GROUP_SCALE * 3 + _EDGE_SCALE + _GROUP_SCALE * 2 * _CROSS, np.float32)
LIGHTNESS = np.flatnonzero(np.float32(1 / 50) == SCALE)
"""Columns that carry brightness: a change of the light moves them together."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of one stream: the client's frame, the working image and the flow image."""

    height: int
    width: int
    work_height: int
    work_width: int
    flow_height: int
    flow_width: int

    @classmethod
    def of(cls, height: int, width: int, config: FlowConfig) -> Geometry:
        """Sizes for frames of `height` x `width` pixels.

        Raises:
            ValueError: a side is not positive.
        """
        if height < 1 or width < 1:
            raise ValueError(f"expected a frame of at least 1x1 pixel, got {width}x{height}")
        work = _fit(height, width, config.work_area_px)
        return cls(height, width, *work, *_fit(*work, config.flow_area_px))


def _fit(height: int, width: int, area_px: int) -> tuple[int, int]:
    scale = min(1.0, math.sqrt(area_px / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class WorkFrame:
    """One frame at the working size, with its features.

    Kept by the stream between frames only as `lab`; the rest is derived again when needed.
    """

    lab: Bytes
    """`(h, w, 3)` 8-bit Lab as OpenCV scales it."""
    flow_grey: Bytes
    """`(fh, fw)` lightness at the size optical flow runs at."""
    groups: tuple[NDArray[np.uint32], ...]
    """Four flat planes `(h * w,)`; each word holds four feature bytes."""

    @classmethod
    def of(cls, lab: Bytes, geometry: Geometry) -> WorkFrame:
        """Derive everything from the working image; equal input gives equal output."""
        lightness = np.asarray(cv2.extractChannel(lab, 0), np.uint8)
        grey = cv2.resize(
            lightness, (geometry.flow_width, geometry.flow_height), interpolation=cv2.INTER_AREA
        )
        return cls(lab, grey.astype(np.uint8, copy=False), _feature_groups(lab, lightness))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the working image."""
        return self.lab.shape[0], self.lab.shape[1]

    def features(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Bytes:
        """`(N, FEATURES)` raw bytes of the pixels at `rows`, `columns` (both `(N,)`)."""
        height, width = self.shape
        at = rows * width + columns
        words = np.empty((len(at), FEATURES // 4), np.uint32)
        for slot, group in enumerate(self.groups):
            words[:, slot] = group.take(at)
        slot = len(self.groups)
        for group, reach in ((self.groups[1], _NEAR_PX), (self.groups[2], _FAR_PX)):
            # Beyond the border the border itself is read.
            up, down = np.maximum(rows - reach, 0), np.minimum(rows + reach, height - 1)
            left, right = np.maximum(columns - reach, 0), np.minimum(columns + reach, width - 1)
            begin = at - columns
            beside = (begin + right, begin + left)
            for there in (*beside, down * width + columns, up * width + columns):
                words[:, slot] = group.take(there)
                slot += 1
        return words.view(np.uint8)


def to_lab(image: Image, geometry: Geometry) -> Bytes:
    """Shrink an RGB frame to the working size and convert it to 8-bit Lab."""
    size = (geometry.work_width, geometry.work_height)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.uint8, copy=False)


def _blur(plane: Bytes, side: int) -> Bytes:
    blurred = cv2.blur(plane, (side, side), borderType=cv2.BORDER_REPLICATE)
    return blurred.astype(np.uint8, copy=False)


def _feature_groups(lab: Bytes, lightness: Bytes) -> tuple[NDArray[np.uint32], ...]:
    near, far = _blur(lab, 9), _blur(lab, 25)
    across = cv2.convertScaleAbs(cv2.Sobel(lightness, cv2.CV_16S, 1, 0), alpha=0.5)
    along = cv2.convertScaleAbs(cv2.Sobel(lightness, cv2.CV_16S, 0, 1), alpha=0.5)
    texture = _blur(np.asarray(cv2.absdiff(lightness, _blur(lightness, 7)), np.uint8), 13)
    fine = _blur(np.asarray(cv2.absdiff(lightness, _blur(lightness, 3)), np.uint8), 5)
    return (
        _pack(lab, texture),
        _pack(near, _blur(across.astype(np.uint8, copy=False), 17)),
        _pack(far, _blur(along.astype(np.uint8, copy=False), 17)),
        _pack(np.asarray(cv2.merge([across, along, _blur(lightness, 3)]), np.uint8), fine),
    )


def _pack(three: Bytes, fourth: Bytes) -> NDArray[np.uint32]:
    """`(h, w, 3)` and `(h, w)` bytes -> `(h * w,)` words."""
    # One allocation; stacking with NumPy takes several times as long.
    packed = np.asarray(cv2.merge([three, fourth]), np.uint8)
    return packed.view(np.uint32).ravel()
