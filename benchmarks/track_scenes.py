"""A video whose truth is known: photographs of dogs, cars and faces that move over photographs.

Things enter, cross, hide each other and leave; there is one scene cut. They are cut out of real
pictures (../shared/data: DAVIS with its masks, portraits as ellipses), so edges and textures are
those of photographs. The frame's number is written into the top left corner as twelve black or
white squares, which survive encoding: a scripted detector reads it there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from kinemask.video import VideoWriter
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]
BoolMask = NDArray[np.bool_]

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
HEIGHT, WIDTH = 360, 640
FPS = 25
BIT_PX = 8
BITS = 12
SEEN_SHARE = 0.25
"""A detector could see a thing of which so much is visible."""
TRUE_SHARE = 0.1
"""A thing of which less is visible does not count."""


@dataclass(frozen=True)
class Sprite:
    """A cut-out photograph."""

    image: RgbImage
    """`(h, w, 3)` uint8 RGB."""
    mask: BoolMask
    """`(h, w)`."""


@dataclass(frozen=True)
class Thing:
    """Something that moves through one scene."""

    word: str
    sprite: Sprite
    from_xy: tuple[float, float]
    """Where its centre is on the scene's first frame, in pixels."""
    speed_xy: tuple[float, float]
    """Pixels a frame."""
    sway_px: float = 0.0
    turn_deg: float = 0.0
    grow: float = 0.0
    """By how much it is larger on the scene's last frame than on its first."""


@dataclass(frozen=True)
class Scene:
    """A background photograph and what moves over it, the nearest last."""

    background: RgbImage
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Truth:
    """Where everything is."""

    words: tuple[str, ...]
    """Of each thing, by its number."""
    masks: list[dict[int, BoolMask]]
    """For each frame: a thing's number to its visible pixels; things that count."""
    boxes: NDArray[np.float64]
    """`(frames, things, 4)` xyxy of what is visible; NaN where a detector could not see it."""


def render(path: Path, frames: int) -> Truth:
    """Write the clip as an MP4 of so many frames, half of them before the cut.

    Raises:
        FileNotFoundError: the photographs are not there.
    """
    scenes = make_scenes()
    count = sum(len(scene.things) for scene in scenes)
    boxes = np.full((frames, count, 4), np.nan)
    masks: list[dict[int, BoolMask]] = []
    cut = frames // 2
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for number in range(frames):
            scene = int(number >= cut)
            at, length = (number - cut, frames - cut) if scene else (number, cut)
            base = len(scenes[0].things) if scene else 0
            image, visible = _frame(scenes[scene], at, length)
            masks.append({})
            for thing, (mask, share) in enumerate(visible):
                if share >= TRUE_SHARE:
                    masks[-1][base + thing] = mask
                if share >= SEEN_SHARE:
                    boxes[number, base + thing] = tight_box(mask)
            write_number(image, number)
            writer.write(image)
    words = tuple(thing.word for scene in scenes for thing in scene.things)
    return Truth(words, masks, boxes)


def tight_box(mask: BoolMask) -> tuple[float, float, float, float]:
    """Box of a mask that is not empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def write_number(image: RgbImage, number: int) -> None:
    """Put a frame's number into its corner."""
    for bit in range(BITS):
        left = bit * BIT_PX
        image[:BIT_PX, left : left + BIT_PX] = 255 if number >> bit & 1 else 0


def read_number(image: RgbImage) -> int:
    """The number in a frame's corner."""
    corner = image[2 : BIT_PX - 2, : BITS * BIT_PX].mean(axis=(0, 2)).reshape(BITS, BIT_PX)
    return sum(int(level > 127) << bit for bit, level in enumerate(corner[:, 2:-2].mean(axis=1)))


def make_scenes() -> tuple[Scene, Scene]:
    """Two shots."""
    first = Scene(
        _background("kite-surf", 49),
        (
            Thing("face", _portrait(0, 110), (420, 250), (0.5, 0.1), sway_px=25),
            Thing("dog", _davis("dog", 0, 120), (-90, 200), (5.0, 0.1), sway_px=8),
            Thing("car", _davis("car-shadow", 0, 90), (760, 150), (-4.5, 0.4)),
        ),
    )
    second = Scene(
        _background("paragliding-launch", 79),
        (
            Thing("face", _portrait(1, 120), (150, 110), (1.5, 0.3), turn_deg=15),
            Thing("dog", _davis("dog", 59, 110), (60, 240), (3.6, 0.0), sway_px=6, grow=0.2),
            Thing("car", _davis("car-shadow", 20, 80), (820, 290), (-5.5, -0.2)),
            Thing("dog", _davis("dog", 30, 150), (720, 200), (-4.0, 0.2), sway_px=6),
        ),
    )
    return first, second


def _frame(scene: Scene, at: int, length: int) -> tuple[RgbImage, list[tuple[BoolMask, float]]]:
    """The picture, and for each thing what is visible of it: its pixels, and their share."""
    shift = round(20 * at / length)
    image = scene.background[10 : 10 + HEIGHT, shift : shift + WIDTH].copy()
    placed: list[tuple[BoolMask, int]] = []
    for thing in scene.things:
        mask, whole = _place(image, thing, at, length)
        placed = [(other & ~mask, size) for other, size in placed]
        placed.append((mask, whole))
    return image, [(mask, int(mask.sum()) / size) for mask, size in placed]


def _place(image: RgbImage, thing: Thing, at: int, length: int) -> tuple[BoolMask, int]:
    """Draw a thing; its pixels in the picture, and how many it has altogether."""
    height, width = thing.sprite.mask.shape
    swing = math.sin(2 * math.pi * at / 60)
    scale = 1.0 + thing.grow * at / length
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), thing.turn_deg * swing, scale)
    x = thing.from_xy[0] + thing.speed_xy[0] * at
    y = thing.from_xy[1] + thing.speed_xy[1] * at + thing.sway_px * swing
    matrix[:, 2] += (x - width / 2, y - height / 2)
    size = (WIDTH, HEIGHT)
    alpha = cv2.warpAffine(thing.sprite.mask.astype(np.float32), matrix, size)
    pixels = cv2.warpAffine(thing.sprite.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
    image[:] = (pixels * soft + image * (1 - soft)).astype(np.uint8)
    mask = np.asarray(alpha > 0.5)
    mask[:BIT_PX, : BITS * BIT_PX] = False  # the number lies over everything
    return mask, max(round(int(thing.sprite.mask.sum()) * scale**2), 1)


def _read(path: Path, flags: int = cv2.IMREAD_COLOR_RGB) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise FileNotFoundError(f"expected a picture at {path}")
    return np.asarray(image, np.uint8)


def _background(sequence: str, number: int) -> RgbImage:
    image = _read(DATA / "davis" / sequence / "frames" / f"{number:05d}.jpg")
    return np.asarray(cv2.resize(image, (WIDTH + 40, HEIGHT + 20), interpolation=cv2.INTER_AREA))


def _davis(sequence: str, number: int, height_px: int) -> Sprite:
    image = _read(DATA / "davis" / sequence / "frames" / f"{number:05d}.jpg")
    mask = _read(DATA / "davis" / sequence / "masks" / f"{number:05d}.png", cv2.IMREAD_GRAYSCALE)
    x, y, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    crop = np.s_[y : y + height, x : x + width]
    return _sized(image[crop], mask[crop] > 127, height_px)


def _portrait(person: int, height_px: int) -> Sprite:
    folders = sorted(path for path in (DATA / "faces" / "johns").iterdir() if path.is_dir())
    image = _read(sorted(folders[person].iterdir())[0])
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    middle, radii = (width // 2, height // 2), (width * 2 // 5, height // 2 - 2)
    cv2.ellipse(mask, middle, radii, 0, 0, 360, 1, -1)
    return _sized(image, mask.view(np.bool_), height_px)


def _sized(image: RgbImage, mask: BoolMask, height_px: int) -> Sprite:
    size = (round(mask.shape[1] * height_px / mask.shape[0]), height_px)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    area = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Sprite(np.asarray(small), np.asarray(area > 0.5))
