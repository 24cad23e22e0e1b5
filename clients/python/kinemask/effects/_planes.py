"""A picture as video has it: brightness in full, colour at half the size."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kinemask.effects._types import Color

Plane: TypeAlias = npt.NDArray[np.uint8]
Samples: TypeAlias = tuple[int, int, int]
"""Y, Cb, Cr of one colour, in limited range."""

_BLACK_Y: Final = 16
_NEUTRAL: Final = 128
# Shares of red and blue in brightness, by the code points of ITU-T H.273 (and of FFmpeg).
_SHARES: Final = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """YCbCr 4:2:0 in limited range: a chroma sample stands for a block of 2 x 2 pixels.

    Drawing writes into the arrays. Their rows may be longer than they show.
    """

    y: Plane
    """`(H, W)` uint8, 16 black to 235 white."""
    u: Plane
    """`(ceil(H / 2), ceil(W / 2))` uint8 Cb, 128 neutral."""
    v: Plane
    """The same of Cr."""
    matrix: int
    """How they come from RGB: H.273's matrix coefficients, 1 BT.709, 5 and 6 BT.601, 9 BT.2020."""

    def __post_init__(self) -> None:
        height, width = self.y.shape
        half = (height + 1) // 2, (width + 1) // 2
        if self.u.shape != half or self.v.shape != half:
            raise ValueError(
                f"expected chroma of {half} for luma of {self.y.shape}, "
                f"found {self.u.shape} and {self.v.shape}"
            )
        if self.matrix not in _SHARES:
            raise ValueError(f"expected a matrix of {tuple(_SHARES)}, found {self.matrix}")

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    def samples(self, color: Color) -> Samples:
        """An RGB colour as the samples of these planes."""
        y, u, v = (int(plane[0, 0]) for plane in self.from_rgb(np.array([[color]], np.uint8)))
        return y, u, v

    def from_rgb(self, image: Plane) -> tuple[Plane, Plane, Plane]:
        """`(h, w, 3)` uint8 RGB as three `(h, w)` uint8 of this matrix, chroma in full size."""
        red_share, blue_share = _SHARES[self.matrix]
        red, green, blue = (image[:, :, channel].astype(np.float32) for channel in range(3))
        luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
        u = _NEUTRAL + (blue - luma) / (1 - blue_share) * (112 / 255)
        v = _NEUTRAL + (red - luma) / (1 - red_share) * (112 / 255)
        return _rounded(_BLACK_Y + luma * (219 / 255)), _rounded(u), _rounded(v)


def any_of_block(weights: Plane) -> Plane:
    """`(h, w)` to `(ceil(h / 2), ceil(w / 2))`: the largest of each block of 2 x 2."""
    even = _even(weights)
    rows = np.maximum(even[0::2], even[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def mean_of_block(values: Plane) -> Plane:
    """The same, the mean of each block."""
    even = _even(values)
    size = even.shape[1] // 2, even.shape[0] // 2
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)


def _even(values: Plane) -> Plane:
    bottom, right = values.shape[0] % 2, values.shape[1] % 2
    if not (bottom or right):
        return values
    return np.asarray(
        cv2.copyMakeBorder(values, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8
    )


def _rounded(values: npt.NDArray[np.float32]) -> Plane:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
