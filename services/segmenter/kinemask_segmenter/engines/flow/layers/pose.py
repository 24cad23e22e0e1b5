"""How a template lies on the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.follow import Window
from kinemask_segmenter.engines.flow.pixels import Floats

Point = tuple[int, int]


@dataclass(frozen=True)
class Pose:
    """A shift, and a turn with growth about the patch's middle; all zero where it was begun.

    A point `u` of the patch, measured from its middle, lies at `u + (grow * u_x - turn * u_y,
    turn * u_x + grow * u_y)`, shifted by `(x, y)` pixels.
    """

    x: float = 0.0
    y: float = 0.0
    grow: float = 0.0
    turn: float = 0.0

    def plus(self, other: Pose) -> Pose:
        """Field by field, which is near enough for small steps."""
        return Pose(
            self.x + other.x, self.y + other.y, self.grow + other.grow, self.turn + other.turn
        )

    def minus(self, other: Pose) -> Pose:
        """What is to be added to `other` to get here."""
        return self.plus(Pose(-other.x, -other.y, -other.grow, -other.turn))

    @property
    def area(self) -> float:
        """Of one of the patch's pixels on the frame."""
        return (1 + self.grow) ** 2 + self.turn**2

    def matrix(
        self, corner_xy: Point, size: Point, window: Window | None = None
    ) -> NDArray[np.float64]:
        """`(2, 3)`: from the patch's pixels to the frame's, or to those of a window of it."""
        middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
        turned = np.array([[1 + self.grow, -self.turn], [self.turn, 1 + self.grow]])
        shifted = np.array([corner_xy[0] + self.x, corner_xy[1] + self.y])
        there = shifted + middle - turned @ middle
        if window is not None:
            there = there - (window.x0, window.y0)
        return np.column_stack([turned, there])


def to_patch(image: Floats, matrix: NDArray[np.float64], size: Point, outside: float) -> Floats:
    """What `image` shows where a patch of `size` (width, height) lies; `outside` beyond it."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = (outside,) * 4
    shown = cv2.warpAffine(
        image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return np.asarray(shown, np.float32)


def to_window(patch: Floats, matrix: NDArray[np.float64], size: Point, outside: float) -> Floats:
    """A patch laid on a window of `size` (width, height); `outside` where it does not reach."""
    border = (outside,) * 4
    laid = cv2.warpAffine(
        patch,
        matrix,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )
    return np.asarray(laid, np.float32)
