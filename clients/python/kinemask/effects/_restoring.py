"""Who has a pixel where somebody who stays visible touches somebody who is covered."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.images import Image
from kinemask.masks import Mask, mask_box

SURE_SCORE = 0.75
"""A mask's score from which its outline is believed to the pixel."""
_GUARD = 0.05
"""Measured where two faces cross and their masks are unsure: 0.02 of the box's longer side leaves
2 % of one uncovered on some frame, 0.05 0.4 %."""
_RIM = 0.03
"""How much a mask may fall short of the face: of its box's longer side. Measured: 0.025."""


@dataclass(frozen=True)
class Outline:
    """An object's mask, and how sure it is."""

    mask: Mask
    """`(H, W)` bool."""
    score: float = 1.0
    """0..1, as the segmenter gave it."""

    @property
    def sure(self) -> bool:
        return self.score >= SURE_SCORE


def restore(
    drawn: Image, original: Image, kept: Sequence[Outline], covered: Sequence[Outline]
) -> None:
    """Give those who are to stay visible their pixels back, where an effect grew over them.

    - A pixel of a covered object's mask stays covered.
    - A pixel of a kept object's mask comes back, unless the mask of either is not sure and it lies
      within 5 % of the covered one's size beside its mask: there it is better to cover some pixels
      of the one than to show the other.
    - A pixel of nobody's mask comes back if it is within 3 % of the kept object's size beside its
      mask, and not nearer to a covered object's mask; else it stays as it was drawn. Masks end
      some pixels inside what they are masks of, on either side.

    Args:
        drawn: `(H, W, 3)` uint8, written to.
        original: the same before anything was drawn.
        kept: those who stay visible.
        covered: those who do not; without those known by their box alone.
    """
    stays = _union([one.mask for one in kept], drawn.shape[:2])
    window = _window(stays)
    if window is None:
        return
    hides = _union([one.mask[window] for one in covered], stays[window].shape)
    back = _with_rim(stays[window], hides, [one for one in kept if one.sure], window)
    all_sure = all(one.sure for one in kept)
    for one in covered:
        back &= ~(one.mask[window] if all_sure and one.sure else _guarded(one.mask)[window])
    np.copyto(drawn[window], original[window], where=back[..., None])


Slices = tuple[slice, slice]


def _union(masks: Sequence[Mask], shape: tuple[int, ...]) -> Mask:
    union = np.zeros(shape, bool)
    for mask in masks:
        union |= mask
    return union


def _window(stays: Mask) -> Slices | None:
    """Everything that may come back: the kept masks and a rim around them."""
    box = mask_box(stays)
    if box is None:
        return None
    margin = 1 + round(_RIM * max(stays.shape))
    height, width = stays.shape
    return (
        slice(max(box[1] - margin, 0), min(box[3] + margin, height)),
        slice(max(box[0] - margin, 0), min(box[2] + margin, width)),
    )


def _with_rim(stays: Mask, hides: Mask, sure: Sequence[Outline], window: Slices) -> Mask:
    """The kept masks and what lies beside the sure ones, up to half way to the covered ones."""
    if not sure:
        return stays.copy()
    to_hides = _distance_to(hides)
    back = stays.copy()
    for one in sure:
        box = mask_box(one.mask)
        if box is not None:
            reach = max(1.0, _RIM * max(box[2] - box[0], box[3] - box[1]))
            to_kept = _distance_to(one.mask[window])
            back |= (to_kept <= reach) & (to_kept <= to_hides)
    return back


def _distance_to(mask: Mask) -> npt.NDArray[np.float32]:
    """Of every pixel to the nearest of the mask; endless if there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    away = np.logical_not(mask).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 5), np.float32)


def _guarded(mask: Mask) -> Mask:
    """The mask grown by `_GUARD` of its box's longer side."""
    box = mask_box(mask)
    if box is None:
        return mask
    x_min, y_min, x_max, y_max = box
    grow = max(1, round(_GUARD * max(x_max - x_min, y_max - y_min)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    height, width = mask.shape
    rows = slice(max(y_min - grow, 0), min(y_max + grow, height))
    columns = slice(max(x_min - grow, 0), min(x_max + grow, width))
    grown = mask.copy()
    grown[rows, columns] = cv2.dilate(mask[rows, columns].view(np.uint8), kernel) > 0
    return grown
