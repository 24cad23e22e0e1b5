"""Made clips of three people of whom two cross, with the truth of every pixel.

The first person goes right and the second left; the third stays. Clips differ in who is in front,
how large the second one is, how fast they are, whether they stop in front of each other, and
whether they turn and grow on their way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 360, 640
FACE_PX = 110
_STAY = (500.0, 220.0)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cutout:
    """A face in an ellipse."""

    pixels: Image
    mask: Mask


@dataclass(frozen=True)
class MadeFrame:
    """A frame and where everybody can be seen."""

    image: Image
    masks: tuple[Mask, ...]
    """Of each person: what nobody stands in front of."""
    crossing: bool


@dataclass(frozen=True)
class Crossing:
    """How a clip goes."""

    first_in_front: bool = False
    second_size: float = 1.0
    """The second face's height, as a multiple of the others'."""
    rise_px: int = 35
    """How much lower the second one goes."""
    speed: float = 1.0
    """1: 380 px over the whole clip; faster ones wait at the end."""
    stops: bool = False
    """They stop half in front of each other and go back."""
    turn_deg: float = 0.0
    """How far they turn to either side on their way."""
    growth: float = 0.0
    """How much larger they are at the end."""


CROSSINGS = {
    "behind": Crossing(),
    "front": Crossing(first_in_front=True),
    "larger": Crossing(second_size=1.35, rise_px=0),
    "smaller_in_front": Crossing(second_size=0.75, rise_px=20),
    "fast": Crossing(speed=2.0),
    "stops": Crossing(stops=True),
    "turning": Crossing(turn_deg=8.0, growth=0.1),
    "turning_front": Crossing(first_in_front=True, turn_deg=8.0, growth=0.1),
}


@dataclass(frozen=True)
class _Place:
    """Where somebody is: the top left corner of their cutout, unturned."""

    x: float
    y: float
    turn_deg: float = 0.0
    size: float = 1.0

    @property
    def is_whole(self) -> bool:
        return not self.turn_deg and self.size == 1


def made_clip(people: list[Cutout], frames: int, crossing: Crossing) -> Iterator[MadeFrame]:
    """The frames of a clip; people: first, second and third."""
    backdrop = _backdrop()
    for number in range(frames):
        share = number / max(frames - 1, 1)
        laid = [
            _laid(person, place)
            for person, place in zip(people, _places(crossing, share), strict=True)
        ]
        image, masks = backdrop.copy(), [mask for _, mask in laid]
        order = [1, 0, 2] if crossing.first_in_front else [0, 1, 2]
        for rank, who in enumerate(order):
            pixels, mask = laid[who]
            image[mask] = pixels[mask]
            for behind in order[:rank]:
                masks[behind] = masks[behind] & ~mask
        wide = [np.flatnonzero(mask.any(0)) for _, mask in laid[:2]]
        apart = wide[0][-1] < wide[1][0] or wide[1][-1] < wide[0][0]
        yield MadeFrame(image, tuple(masks), not apart)


def _places(crossing: Crossing, share: float) -> list[_Place]:
    way = min(1.0, share * crossing.speed)
    if crossing.stops:
        way = 0.42 * min(1.0, 4 * min(share, 1 - share) / 1.2)
    turn = crossing.turn_deg * math.sin(2 * math.pi * share)
    size = 1 + crossing.growth * share
    return [
        _Place(_whole(60 + 380 * way, crossing), 40, turn, size),
        _Place(_whole(440 - 380 * way, crossing), 40 + crossing.rise_px, -turn, size),
        _Place(*_STAY),
    ]


def _whole(x: float, crossing: Crossing) -> float:
    return x if crossing.turn_deg or crossing.growth else round(x)


def _laid(person: Cutout, place: _Place) -> tuple[Image, Mask]:
    """A person's pixels and mask on an empty frame."""
    height, width = person.mask.shape
    pixels, mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), bool)
    if place.is_whole:
        left, top = round(place.x), round(place.y)
        part = np.s_[top : top + height, left : left + width]
        pixels[part], mask[part] = person.pixels, person.mask
        return pixels, mask
    middle = (width - 1) / 2, (height - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, place.turn_deg, place.size)
    matrix[:, 2] += np.array([place.x, place.y])
    size = (WIDTH, HEIGHT)
    turned = cv2.warpAffine(person.pixels, matrix, size, flags=cv2.INTER_LINEAR)
    share = cv2.warpAffine(person.mask.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.uint8), np.asarray(share > 0.5)


def _backdrop() -> Image:
    noise = np.random.default_rng(7).integers(0, 256, (18, 32, 3), dtype=np.uint8)
    smooth = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth // 3 + 60, np.uint8)
