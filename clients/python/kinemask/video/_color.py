"""How samples map to RGB, in the code points of ITU-T H.273 (which FFmpeg uses too)."""

from dataclasses import dataclass
from typing import Final

from av.video.reformatter import Interpolation

UNSPECIFIED: Final = 2
LIMITED_RANGE: Final = 1
_BT709: Final = 1
_SMPTE170M: Final = 6
_KNOWN_MATRICES: Final = frozenset({_BT709, 4, 5, _SMPTE170M, 7, 9})  # what swscale converts
_HD_HEIGHT_PX: Final = 720

FAST: Final = Interpolation.BILINEAR
"""About one level of 255 too dark on average, as swscale truncates; many times quicker."""
EXACT: Final = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""Rounded: within two levels of the formula, without bias."""


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Code points of H.273; what we write always has the limited ("tv") range."""

    matrix: int
    """Matrix coefficients: 1 BT.709, 5 and 6 BT.601, 9 BT.2020."""
    primaries: int
    """Colour primaries; 2 when unspecified."""
    transfer: int
    """Transfer characteristics; 2 when unspecified."""


def complete_tags(height: int, matrix: int, primaries: int, transfer: int) -> ColorTags:
    """Fill in what a file leaves out as players do: BT.709 from 720 lines on, else BT.601."""
    if matrix not in _KNOWN_MATRICES:
        matrix = _BT709 if height >= _HD_HEIGHT_PX else _SMPTE170M
    # These two matrices share their number with the primaries and transfer that go with them.
    same = matrix if matrix in (_BT709, _SMPTE170M) else UNSPECIFIED
    return ColorTags(
        matrix,
        same if primaries in (0, UNSPECIFIED) else primaries,
        same if transfer in (0, UNSPECIFIED) else transfer,
    )
