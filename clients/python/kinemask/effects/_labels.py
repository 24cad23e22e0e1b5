"""Label text on a rounded pill that stays inside the frame."""

import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np

from kinemask.effects._region import Weights
from kinemask.effects._types import Color
from kinemask.images import Image

_FONT: Final = cv2.FONT_HERSHEY_DUPLEX
_OVERSAMPLING: Final = 4  # OpenCV's stroke fonts look ragged at their final size
_HEIGHT_SHARE: Final = 0.038  # pill height as a share of the frame's shorter side
_LEAST_HEIGHT_PX: Final = 16
_MOST_CHARACTERS: Final = 60


class _Sprite(NamedTuple):
    """A drawn label: `(h, w, 3)` uint8 RGB and `(h, w)` uint8 opacity."""

    picture: Image
    opacity: Weights


def draw_label(image: Image, text: str, color: Color, x_px: float, y_px: float) -> None:
    """Draw a label in place, its lower left corner at (x, y), moved as far as needed to lie inside
    the frame. A text too long for the frame is shortened; a frame lower than a label gets none."""
    placed = place_label(text, color, x_px, y_px, *image.shape[:2])
    if placed is None:
        return
    left, top, sprite = placed
    height, width = sprite.opacity.shape
    pixels = image[top : top + height, left : left + width]
    share = sprite.opacity.astype(np.float32)[:, :, None] / 255
    blended = pixels + (sprite.picture.astype(np.float32) - pixels) * share
    pixels[:] = np.rint(blended).astype(np.uint8)


def place_label(
    text: str, color: Color, x_px: float, y_px: float, frame_height: int, frame_width: int
) -> tuple[int, int, _Sprite] | None:
    """Left and top of a label with its lower left corner at (x, y), moved into the frame, and its
    picture; None where the frame is too low for one."""
    height_px = max(round(_HEIGHT_SHARE * min(frame_height, frame_width)), _LEAST_HEIGHT_PX)
    sprite = _fitting_sprite(_plain(text), color, height_px, frame_width)
    if sprite is None or height_px > frame_height:
        return None
    height, width = sprite.opacity.shape
    left = min(max(round(x_px), 0), frame_width - width)
    top = min(max(round(y_px) - height, 0), frame_height - height)
    return left, top, sprite


def _plain(text: str) -> str:
    """Letters that OpenCV's fonts have: accents are dropped, other scripts become question
    marks."""
    decomposed = unicodedata.normalize("NFKD", text)
    letters = (c for c in decomposed if not unicodedata.combining(c))
    printable = "".join(c if " " <= c <= "~" else "?" for c in letters)
    return printable[:_MOST_CHARACTERS].strip()


def _fitting_sprite(text: str, color: Color, height_px: int, room_px: int) -> _Sprite | None:
    shortened = text
    while shortened:
        sprite = _sprite(shortened, color, height_px)
        if sprite.opacity.shape[1] <= room_px:
            return sprite
        text = text[:-1].rstrip()
        shortened = f"{text}.." if text else ""
    return None


@lru_cache(maxsize=512)
def _sprite(text: str, color: Color, height_px: int) -> _Sprite:
    height = height_px * _OVERSAMPLING
    scale = cv2.getFontScaleFromHeight(_FONT, round(0.48 * height), 1)
    stroke = max(round(height / 18), 1)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    width = -(-(text_width + round(0.9 * height)) // _OVERSAMPLING) * _OVERSAMPLING
    opacity = _pill(width, height)
    ink = np.zeros((height, width), np.uint8)
    origin = (width - text_width) // 2, (height + text_height) // 2
    cv2.putText(ink, text, origin, _FONT, scale, (255,), stroke, cv2.LINE_AA)
    small = (width // _OVERSAMPLING, height_px)
    ink_share = cv2.resize(ink, small, interpolation=cv2.INTER_AREA)[:, :, None] / 255
    pill, text_color = np.array(color, np.float32), np.array(_text_color(color), np.float32)
    picture = np.rint(pill + (text_color - pill) * ink_share).astype(np.uint8)
    return _Sprite(picture, np.asarray(cv2.resize(opacity, small, interpolation=3), np.uint8))


def _pill(width: int, height: int) -> Weights:
    """`(height, width)` uint8: 255 inside a rectangle with rounded corners."""
    pill = np.zeros((height, width), np.uint8)
    radius = round(0.3 * height)
    cv2.rectangle(pill, (radius, 0), (width - radius - 1, height - 1), (255,), -1)
    cv2.rectangle(pill, (0, radius), (width - 1, height - radius - 1), (255,), -1)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(pill, (x, y), radius, (255,), -1)
    return pill


def _text_color(background: Color) -> Color:
    """Black or white, whichever stands out (luma of BT.601)."""
    red, green, blue = background
    return (20, 20, 20) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
