"""Where an effect was drawn on planes, and where what it drew was taken back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np

from kinemask.effects._planes import Plane, Planes, any_of_block
from kinemask.effects._region import Weights
from kinemask.effects._restoring import Back, meet
from kinemask.effects._weights import Soft, merged


class Touched(NamedTuple):
    """Where an effect was drawn."""

    regions: tuple[Soft, ...]
    """Of the objects that are in the frame."""
    background: bool
    """True if it was drawn on everything but the regions."""
    back: tuple[Back, ...] = ()
    """What was given back of that."""

    def add_to(self, covered: Weights) -> None:
        """Set `(H, W)` uint8 to 255 wherever the whole effect was drawn."""
        if self.background:
            self._add_background(covered)
            return
        before = [one.of(covered).copy() for one in self.back]
        for region in self.regions:
            part = region.luma(covered)
            cv2.bitwise_or(part, region.inside, part)
        for one, pixels in zip(self.back, before, strict=True):
            np.copyto(one.of(covered), pixels, where=one.mask)

    def _add_background(self, covered: Weights) -> None:
        kept = merged(self.regions)
        if kept is None:
            covered[:] = 255
            return
        changed = kept.weights == 0
        outside = np.ones(covered.shape, np.bool_)
        kept.luma(outside)[:] = changed
        covered[outside] = 255


def reached(kept: Sequence[Back], regions: Sequence[Soft]) -> tuple[Back, ...]:
    """Those that have a pixel in the rectangle of a region."""
    boxes = [(region.x_min, region.y_min, region.x_max, region.y_max) for region in regions]
    return tuple(one for one in kept if any(meet(box, one.window) for box in boxes))


@contextmanager
def given_back(planes: Planes, kept: Sequence[Back]) -> Iterator[None]:
    """Give them back what is drawn meanwhile, in place.

    A block's colour comes back only where all of its pixels do: it is that of the others too.
    """
    before = [[part.copy() for part in _parts(planes, one)] for one in kept]
    yield
    for one, pixels in zip(kept, before, strict=True):
        stays = np.logical_not(one.mask).view(np.uint8)
        whole_blocks = any_of_block(stays) == 0
        masks = one.mask, whole_blocks, whole_blocks
        for part, source, mask in zip(_parts(planes, one), pixels, masks, strict=True):
            np.copyto(part, source, where=mask)


def _parts(planes: Planes, one: Back) -> tuple[Plane, Plane, Plane]:
    x_min, y_min, x_max, y_max = one.window
    rows, columns = slice(y_min // 2, (y_max + 1) // 2), slice(x_min // 2, (x_max + 1) // 2)
    return one.of(planes.y), planes.u[rows, columns], planes.v[rows, columns]
