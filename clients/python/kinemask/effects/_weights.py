"""How much of each pixel an effect takes: a region with soft edges, on whole chroma blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.effects._planes import Plane, any_of_block
from kinemask.effects._region import Region, Weights, region_of
from kinemask.effects._types import EffectObject, EffectSpec

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """A rectangle of a frame, and how much of an effect each of its pixels gets.

    Invariant: x_min and y_min are even; x_max and y_max are even or the frame's own, so that no
    block of 2 x 2 pixels, which share their colour, lies partly inside.
    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    inside: Weights
    """`(y_max - y_min, x_max - x_min)` uint8: 255 in the region, 0 elsewhere."""
    weights: Weights
    """The same size: 255 in the region, falling to 0 over the feather around it."""
    hard: bool
    """True if no weight is between 0 and 255."""

    def luma(self, plane: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """The rectangle of `(H, W)` as a view."""
        return plane[self.y_min : self.y_max, self.x_min : self.x_max]

    def chroma(self, plane: Plane) -> Plane:
        """The rectangle of a plane of half the size as a view."""
        bottom, right = (self.y_max + 1) // 2, (self.x_max + 1) // 2
        return plane[self.y_min // 2 : bottom, self.x_min // 2 : right]

    def chroma_weights(self) -> Weights:
        """For the chroma: a block with any pixel in the region is wholly in it."""
        return any_of_block(self.weights)


def soft_region(
    item: EffectObject, spec: EffectSpec, feather_px: int, height: int, width: int
) -> Soft | None:
    """An object's region in a frame of this size; None when there is none of it in the frame.

    Raises:
        ValueError: the mask has another size than the frame.
    """
    hard = region_of(item, spec, height, width)
    if hard is None:
        return None
    box, inside = _on_blocks(hard, feather_px, height, width)
    weights = _feathered(inside, feather_px) if feather_px else inside
    return Soft(*box, inside, weights, not feather_px)


def merged(regions: Sequence[Soft]) -> Soft | None:
    """All of them as one, in the rectangle around them; None for none."""
    if len(regions) < 2:
        return regions[0] if regions else None
    box = (
        *(min(region.x_min for region in regions), min(region.y_min for region in regions)),
        *(max(region.x_max for region in regions), max(region.y_max for region in regions)),
    )
    size = box[3] - box[1], box[2] - box[0]
    union = Soft(*box, np.zeros(size, np.uint8), np.zeros(size, np.uint8), False)
    for region in regions:
        for whole, part in ((union.inside, region.inside), (union.weights, region.weights)):
            top, left = region.y_min - box[1], region.x_min - box[0]
            target = whole[top : top + part.shape[0], left : left + part.shape[1]]
            np.maximum(target, part, out=target)
    return replace(union, hard=all(region.hard for region in regions))


def _on_blocks(
    region: Region, margin: int, height: int, width: int
) -> tuple[tuple[int, int, int, int], Weights]:
    """The region in a rectangle larger by `margin`, on even coordinates, within the frame."""
    x_min, y_min = max(region.x_min - margin, 0) & ~1, max(region.y_min - margin, 0) & ~1
    x_max, y_max = min(region.x_max + margin, width), min(region.y_max + margin, height)
    x_max, y_max = min(x_max + x_max % 2, width), min(y_max + y_max % 2, height)
    around = (
        *(region.y_min - y_min, y_max - region.y_max),
        *(region.x_min - x_min, x_max - region.x_max),
    )
    inside = region.inside
    if any(around):
        padded = cv2.copyMakeBorder(inside, *around, cv2.BORDER_CONSTANT, value=(0,))
        inside = np.asarray(padded, np.uint8)
    return (x_min, y_min, x_max, y_max), inside


def _feathered(inside: Weights, feather_px: int) -> Weights:
    """255 inside, and a straight fall to 0 at one pixel beyond the feather."""
    distance_px = cv2.distanceTransform(cv2.bitwise_not(inside), cv2.DIST_L2, 5)
    share = 1 - distance_px / (feather_px + 1)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
