"""The effects by name, behind one interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from kinemask.effects._labels import draw_label
from kinemask.effects._painters import (
    Painter,
    paint_blur,
    paint_outline,
    paint_pixelate,
    paint_solid,
    paint_tint,
)
from kinemask.effects._region import Region, region_of
from kinemask.effects._types import Color, EffectObject, EffectSpec
from kinemask.images import Image


class Effect(ABC):
    """Draws on the objects of a frame. Holds no state: one may serve many threads."""

    background = False
    """Whether it changes everything but the objects."""

    def __init__(self, spec: EffectSpec, intensity: float) -> None:
        self.spec = spec
        self.intensity = intensity

    def apply(self, image: Image, objects: Sequence[EffectObject], in_place: bool = False) -> Image:
        """The image with the effect on these objects, drawn in their order.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            objects: with masks of the same (H, W).
            in_place: write to `image` itself and return it; it must be contiguous and writeable.

        Raises:
            ValueError: the image or a mask has another shape or dtype.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected (H, W, 3) uint8, found {image.shape} {image.dtype}")
        if in_place and not (image.flags.c_contiguous and image.flags.writeable):
            raise ValueError("expected a contiguous, writeable image to draw in place")
        height, width = image.shape[:2]
        regions = [region_of(item, self.spec, height, width) for item in objects]
        target = image if in_place else image.copy(order="C")
        self._draw(target, [(i, r) for i, r in zip(objects, regions, strict=True) if r is not None])
        return target

    @abstractmethod
    def _draw(self, image: Image, found: list[tuple[EffectObject, Region]]) -> None:
        """Write to a contiguous image; `found` holds the objects that are in the frame."""

    def _color(self, item: EffectObject) -> Color:
        return self.spec.color or item.color


class _PaintEffect(Effect):
    """One painter on every region."""

    def __init__(self, spec: EffectSpec, intensity: float, painter: Painter) -> None:
        super().__init__(spec, intensity)
        self._painter = painter

    def _draw(self, image: Image, found: list[tuple[EffectObject, Region]]) -> None:
        for item, region in found:
            self._painter(image, region, self._color(item), self.intensity)


class _DimEffect(Effect):
    """Everything but the objects, darkened; without objects the whole frame."""

    background = True

    def _draw(self, image: Image, found: list[tuple[EffectObject, Region]]) -> None:
        kept = [(region, region.of(image).copy()) for _, region in found]
        cv2.convertScaleAbs(image, image, 1 - self.intensity)
        for region, pixels in kept:
            cv2.copyTo(pixels, region.inside, region.of(image))


class _OverlayEffect(Effect):
    """A tint and an outline on every object, then the labels, so that no tint covers one."""

    _OUTLINE_INTENSITY: Final = 0.35

    def _draw(self, image: Image, found: list[tuple[EffectObject, Region]]) -> None:
        for item, region in found:
            paint_tint(image, region, self._color(item), self.intensity)
            paint_outline(image, region, self._color(item), self._OUTLINE_INTENSITY)
        for item, region in found:
            if item.label:
                x_min, y_min = (item.box_xyxy or region)[:2]
                draw_label(image, item.label, self._color(item), x_min, y_min)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a named effect is made, and how strong it is unless told."""

    intensity: float
    make: Callable[[EffectSpec, float], Effect]


def _painting(painter: Painter) -> Callable[[EffectSpec, float], Effect]:
    return lambda spec, intensity: _PaintEffect(spec, intensity, painter)


_KINDS: Final = {
    "blur": _Kind(0.75, _painting(paint_blur)),
    "pixelate": _Kind(0.75, _painting(paint_pixelate)),
    "solid": _Kind(1.0, _painting(paint_solid)),
    "outline": _Kind(0.5, _painting(paint_outline)),
    "dim": _Kind(0.65, _DimEffect),
    "overlay": _Kind(0.45, _OverlayEffect),
}

EFFECT_NAMES: Final = tuple(_KINDS)
"""Every effect that `make_effect` knows."""


def make_effect(
    effect: str | EffectSpec,
    *,
    intensity: float | None = None,
    color: Color | None = None,
    grow_px: float | None = None,
    grow_fraction: float | None = None,
) -> Effect:
    """An effect from its name or its spec; the other arguments override the spec's.

    Raises:
        ValueError: an unknown name (the message lists the known ones) or a value out of range.
    """
    spec = EffectSpec(effect) if isinstance(effect, str) else effect
    if intensity is not None:
        spec = replace(spec, intensity=intensity)
    if color is not None:
        spec = replace(spec, color=color)
    if grow_px is not None:
        spec = replace(spec, grow_px=grow_px)
    if grow_fraction is not None:
        spec = replace(spec, grow_fraction=grow_fraction)
    kind = _KINDS.get(spec.name)
    if kind is None:
        raise ValueError(f"unknown effect {spec.name!r}, expected one of {', '.join(EFFECT_NAMES)}")
    return kind.make(spec, kind.intensity if spec.intensity is None else spec.intensity)
