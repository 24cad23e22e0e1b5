"""Where an effect works: a rectangle of the frame and the pixels in it that count."""

import math
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.effects._types import EffectObject, EffectSpec
from kinemask.images import Image
from kinemask.masks import Mask, mask_box

Weights: TypeAlias = npt.NDArray[np.uint8]


class Region(NamedTuple):
    """A rectangle with pixels in it, inside the frame, and which of them count."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    inside: Weights
    """`(y_max - y_min, x_max - x_min)` uint8: 255 for a pixel that counts, 0 for one that does
    not."""

    def of(self, image: Image) -> Image:
        """The rectangle of `(H, W, 3)` as a view; writing to it writes to the image."""
        return image[self.y_min : self.y_max, self.x_min : self.x_max]


def region_of(item: EffectObject, spec: EffectSpec, height: int, width: int) -> Region | None:
    """An object's region in a frame of this size; None when there is none of it in the frame.

    The mask alone says where the object is: a box that is too small must not uncover anything.

    Raises:
        ValueError: the mask has another size than the frame.
    """
    if item.mask is not None:
        left, top = _origin(item, item.mask, height, width)
        found = mask_box(item.mask)
        if found is None:
            return None
        crop = item.mask[found[1] : found[3], found[0] : found[2]]
        box = found[0] + left, found[1] + top, found[2] + left, found[3] + top
        if spec.region == "mask":
            return _mask_region(crop, box, _growth_px(box, spec), height, width)
        return _box_region(item.box_xyxy or box, spec, height, width)
    assert item.box_xyxy is not None  # EffectObject made sure of one of them
    return _box_region(item.box_xyxy, spec, height, width)


def _growth_px(box_xyxy: tuple[float, float, float, float], spec: EffectSpec) -> float:
    x_min, y_min, x_max, y_max = box_xyxy
    return spec.grow_px + spec.grow_fraction * max(x_max - x_min, y_max - y_min)


def _origin(item: EffectObject, mask: Mask, height: int, width: int) -> tuple[int, int]:
    """Where the mask's first pixel lies in the frame: x and y.

    Raises:
        ValueError: the mask is not of the frame, or not of its window.
    """
    if item.window_xyxy is None:
        if mask.shape != (height, width):
            raise ValueError(
                f"expected a mask of the frame's {(height, width)}, found {mask.shape}"
            )
        return 0, 0
    x_min, y_min, x_max, y_max = item.window_xyxy
    if mask.shape != (y_max - y_min, x_max - x_min):
        raise ValueError(f"expected a mask of {item.window_xyxy}, found {mask.shape}")
    if not (0 <= x_min <= x_max <= width and 0 <= y_min <= y_max <= height):
        raise ValueError(f"expected a window within {width}x{height}, found {item.window_xyxy}")
    return x_min, y_min


def _mask_region(
    crop: Mask, box: tuple[int, int, int, int], growth_px: float, height: int, width: int
) -> Region:
    if growth_px < 1:
        return Region(*box, np.multiply(crop.view(np.uint8), 255, dtype=np.uint8))
    margin = math.ceil(growth_px)
    x_min, y_min = max(box[0] - margin, 0), max(box[1] - margin, 0)
    x_max, y_max = min(box[2] + margin, width), min(box[3] + margin, height)
    outside = np.ones((y_max - y_min, x_max - x_min), np.uint8)
    inner = outside[box[1] - y_min : box[3] - y_min, box[0] - x_min : box[2] - x_min]
    inner[:] = np.logical_not(crop)
    # A distance costs the same for any growth, unlike a dilation with a large kernel.
    distance_px = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    inside = np.multiply(distance_px <= growth_px, 255, dtype=np.uint8)
    return Region(x_min, y_min, x_max, y_max, inside)


def _box_region(
    box_xyxy: tuple[float, float, float, float], spec: EffectSpec, height: int, width: int
) -> Region | None:
    growth_px = _growth_px(box_xyxy, spec)
    x_min = max(math.floor(box_xyxy[0] - growth_px), 0)
    y_min = max(math.floor(box_xyxy[1] - growth_px), 0)
    x_max = min(math.ceil(box_xyxy[2] + growth_px), width)
    y_max = min(math.ceil(box_xyxy[3] + growth_px), height)
    if x_min >= x_max or y_min >= y_max:
        return None
    return Region(
        x_min, y_min, x_max, y_max, np.full((y_max - y_min, x_max - x_min), 255, np.uint8)
    )
