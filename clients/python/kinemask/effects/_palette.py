"""One colour per object id."""

import colorsys
from typing import Final

from kinemask.effects._types import Color

_FIRST: Final[tuple[Color, ...]] = (
    (230, 57, 70),  # red
    (30, 136, 245),  # blue
    (255, 176, 0),  # amber
    (16, 185, 129),  # green
    (155, 93, 229),  # violet
    (0, 200, 225),  # cyan
    (244, 91, 181),  # pink
    (163, 205, 57),  # lime
    (249, 115, 22),  # orange
    (84, 86, 200),  # indigo
    (176, 112, 72),  # brown
    (250, 232, 92),  # yellow
)
_GOLDEN_RATIO: Final = 0.6180339887498949  # its multiples fill a circle evenly


def palette_color(object_id: int) -> Color:
    """The colour of an object id (any integer): the same one always, and neighbours far apart."""
    if 0 <= object_id < len(_FIRST):
        return _FIRST[object_id]
    lightness = (0.5, 0.65, 0.4)[object_id % 3]
    channels = colorsys.hls_to_rgb(object_id * _GOLDEN_RATIO % 1.0, lightness, 0.8)
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue
