"""Who has a pixel where somebody who stays visible touches somebody who is covered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.images import Image
from kinemask.masks import Mask, mask_box

ScalarT = TypeVar("ScalarT", bound=np.generic)

Window: TypeAlias = tuple[int, int, int, int]
"""Pixels of the frame: x_min, y_min, x_max, y_max; the last two are not in it."""

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
    window_xyxy: Window | None = None
    """If set, `mask` is of these pixels alone, within the frame; elsewhere it is empty."""

    @property
    def sure(self) -> bool:
        return self.score >= SURE_SCORE

    @cached_property
    def box(self) -> Window | None:
        """The tight box of the mask, in the frame; None for an empty one."""
        left, top = (self.window_xyxy or (0, 0))[:2]
        box = mask_box(self.mask) if self.mask.size else None
        return box and (box[0] + left, box[1] + top, box[2] + left, box[3] + top)

    def within(self, window: Window) -> Mask:
        """`(h, w)` bool of a window, which may reach outside the frame: the mask there."""
        height, width = self.mask.shape
        own = self.window_xyxy or (0, 0, width, height)
        x_min, y_min = max(own[0], window[0]), max(own[1], window[1])
        x_max, y_max = min(own[2], window[2]), min(own[3], window[3])
        part = np.zeros((window[3] - window[1], window[2] - window[0]), bool)
        if x_min < x_max and y_min < y_max:
            target = part[y_min - window[1] : y_max - window[1]]
            source = self.mask[y_min - own[1] : y_max - own[1], x_min - own[0] : x_max - own[0]]
            target[:, x_min - window[0] : x_max - window[0]] = source
        return part

    def guarded(self, window: Window) -> Mask:
        """The same of the mask grown by `_GUARD` of its box's longer side."""
        grow = max(1, round(_longer_px(self.box) * _GUARD))
        near = self.within(_grown(window, grow))
        return (_distance_to(near) <= grow)[grow:-grow, grow:-grow]


@dataclass(frozen=True, eq=False)
class Back:
    """The pixels that come back to one who stays visible."""

    window: Window
    """Around all of them, in the frame: its first two are even, its last two even or the frame's,
    so that no block of 2 x 2 pixels, which share their colour, lies partly inside."""
    kept: Outline
    covered: Sequence[Outline]
    all_sure: bool
    """Whether all who stay visible are."""

    def of(self, pixels: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """The window of `(H, W)` or `(H, W, 3)`, as a view."""
        x_min, y_min, x_max, y_max = self.window
        return pixels[y_min:y_max, x_min:x_max]

    @cached_property
    def mask(self) -> Mask:
        """`(h, w)` bool of the window: which come back. Made when it is first asked for."""
        near = [one for one in self.covered if meet(_reach(one), self.window)]
        back = self._with_rim(near)
        for one in near:
            exact = self.all_sure and one.sure
            back &= ~(one.within(self.window) if exact else one.guarded(self.window))
        return back

    def _with_rim(self, covered: Sequence[Outline]) -> Mask:
        """The kept mask and, if it is sure, what lies beside it, up to half way to the covered."""
        own = self.kept.within(self.window)
        if not self.kept.sure:
            return own
        hides = np.zeros_like(own)
        for one in covered:
            hides |= one.within(self.window)
        to_kept = _distance_to(own)
        return (to_kept <= _rim_px(self.kept)) & (to_kept <= _distance_to(hides))


def coming_back(
    kept: Sequence[Outline], covered: Sequence[Outline], height: int, width: int
) -> list[Back]:
    """What is to be given back to those who are to stay visible, where an effect grew over them.

    - A pixel of a covered object's mask stays covered.
    - A pixel of a kept object's mask comes back, unless the mask of either is not sure and it lies
      within 5 % of the covered one's size beside its mask: there it is better to cover some pixels
      of the one than to show the other.
    - A pixel of nobody's mask comes back if it is within 3 % of the kept object's size beside its
      mask, and not nearer to a covered object's mask; else it stays as it was drawn. Masks end
      some pixels inside what they are masks of, on either side.

    Args:
        kept: those who stay visible.
        covered: those who do not.
        height: of the frame, in pixels.
        width: the same.

    Returns:
        One for each of the kept that is in the frame. Their windows may overlap.
    """
    all_sure = all(one.sure for one in kept)
    return [
        Back(_window(one, box, height, width), one, covered, all_sure)
        for one in kept
        if (box := one.box) is not None
    ]


def restore(
    drawn: Image, original: Image, kept: Sequence[Outline], covered: Sequence[Outline]
) -> None:
    """Give those who are to stay visible their pixels back, as `coming_back` says.

    Args:
        drawn: `(H, W, 3)` uint8, written to.
        original: the same before anything was drawn.
        kept: those who stay visible.
        covered: those who do not; without those known by their box alone.
    """
    for back in coming_back(kept, covered, *drawn.shape[:2]):
        np.copyto(back.of(drawn), back.of(original), where=back.mask[..., None])


def meet(one: Window | None, other: Window) -> bool:
    """Whether two windows have a pixel in common; None has none."""
    return one is not None and (
        max(one[0], other[0]) < min(one[2], other[2])
        and max(one[1], other[1]) < min(one[3], other[3])
    )


def _window(one: Outline, box: Window, height: int, width: int) -> Window:
    """Everything that may come back, and all covered pixels that have a say in it."""
    margin = 2 * math.ceil(_rim_px(one)) if one.sure else 0
    x_min, y_min, x_max, y_max = _grown(box, margin)
    return (
        max(x_min, 0) & ~1,
        max(y_min, 0) & ~1,
        min(x_max + x_max % 2, width),
        min(y_max + y_max % 2, height),
    )


def _reach(covered: Outline) -> Window | None:
    """Outside of it a covered mask keeps nothing covered, guard and all."""
    return covered.box and _grown(covered.box, 1 + math.ceil(_longer_px(covered.box) * _GUARD))


def _rim_px(one: Outline) -> float:
    return max(1.0, _RIM * _longer_px(one.box))


def _longer_px(box: Window | None) -> int:
    return max(box[2] - box[0], box[3] - box[1]) if box else 0


def _grown(window: Window, margin: int) -> Window:
    x_min, y_min, x_max, y_max = window
    return x_min - margin, y_min - margin, x_max + margin, y_max + margin


def _distance_to(mask: Mask) -> npt.NDArray[np.float32]:
    """Of every pixel to the nearest of the mask; endless if there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    away = np.logical_not(mask).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 5), np.float32)
