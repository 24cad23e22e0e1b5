"""The effects on YCbCr planes, for rendering files: nothing is converted to RGB and back.

What an effect does not touch stays as it was decoded, bit for bit, and what it hides is hidden in
the colours of its edge too: a block of 2 x 2 pixels shares one colour, so a block that is partly
in a region gets the effect's colour as a whole.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from kinemask.effects._blending import (
    blend,
    blend_samples,
    fill,
    kept_chroma,
    look_up,
    outline,
    parts,
)
from kinemask.effects._labels import place_label
from kinemask.effects._painters import averages_size
from kinemask.effects._planes import Plane, Planes, Samples, mean_of_block
from kinemask.effects._restoring import Back
from kinemask.effects._touched import Touched, given_back, reached
from kinemask.effects._types import Color, EffectObject, EffectSpec
from kinemask.effects._weights import Soft, merged, soft_region

_CHROMA_NEUTRAL: Final = 128
_BLACK_Y: Final = 16
_OVERLAY_LINE: Final = 0.35


class PlanarEffect(ABC):
    """Draws on planes. Holds no state: one may serve many threads."""

    def __init__(self, spec: EffectSpec, intensity: float, feather_px: int) -> None:
        self.spec = spec
        self.intensity = intensity
        self.feather_px = feather_px

    def draw(
        self, planes: Planes, objects: Sequence[EffectObject], kept: Sequence[Back] = ()
    ) -> Touched:
        """Draw on these objects in place, in their order; where that was.

        `kept` get back what it changes of theirs, but for effects on the background: those are
        meant for everybody else.

        Raises:
            ValueError: a mask has another size than the frame.
        """
        found = [
            (item, region)
            for item in objects
            if (region := soft_region(item, self.spec, self.feather_px, *planes.y.shape))
        ]
        regions = tuple(region for _, region in found)
        background = isinstance(self, _Background)
        back = () if background else reached(kept, regions)
        with given_back(planes, back):
            self._draw(planes, found)
        return Touched(regions, background, back)

    @abstractmethod
    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        """`found` holds the objects that are in the frame."""

    def _samples(self, planes: Planes, item: EffectObject) -> Samples:
        return planes.samples(self.spec.color or item.color)


class _Averaged(PlanarEffect):
    """A few averages in the place of all pixels."""

    smooth: bool

    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        for _, region in found:
            height, width = region.inside.shape
            size = averages_size(height, width, self.intensity)
            chroma_weights = region.chroma_weights()
            luma = region.luma(planes.y)
            blend(luma, self._enlarged(luma, size), region.weights, region.hard)
            for plane in (planes.u, planes.v):
                chroma = region.chroma(plane)
                blend(chroma, self._enlarged(chroma, size), chroma_weights, region.hard)

    def _enlarged(self, pixels: Plane, size: tuple[int, int]) -> Plane:
        height, width = pixels.shape
        size = min(size[0], width), min(size[1], height)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        if not self.smooth:
            mosaic = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
            return np.asarray(mosaic, np.uint8)
        small = cv2.GaussianBlur(small, (3, 3), 0, borderType=cv2.BORDER_REFLECT)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


class _Blur(_Averaged):
    smooth = True


class _Pixelate(_Averaged):
    smooth = False


class _Solid(PlanarEffect):
    """One colour, its brightness scaled by the intensity; reads nothing of what it covers."""

    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        for item, region in found:
            red, green, blue = self.spec.color or item.color
            dimmed = tuple(round(channel * self.intensity) for channel in (red, green, blue))
            fill(planes, region, planes.samples((dimmed[0], dimmed[1], dimmed[2])))


class _Outline(PlanarEffect):
    """A line along the inner side of the region's edge."""

    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        for item, region in found:
            outline(planes, region, self._samples(planes, item), self.intensity)


class _Overlay(PlanarEffect):
    """A tint and an outline."""

    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        for item, region in found:
            samples = self._samples(planes, item)
            tint = np.asarray(cv2.convertScaleAbs(region.weights, alpha=self.intensity), np.uint8)
            blend_samples(planes, region, samples, tint, mean_of_block(tint))
            outline(planes, region, samples, _OVERLAY_LINE)


class _Background(PlanarEffect):
    """Changes everything but the objects; without objects the whole frame.

    With a feather it sets in gradually around them.
    """

    def _draw(self, planes: Planes, found: list[tuple[EffectObject, Soft]]) -> None:
        kept = merged([region for _, region in found])
        if kept is None:
            self._change(planes)
            return
        before = [part.copy() for part in parts(planes, kept)]
        self._change(planes)
        chroma_weights = kept_chroma(kept)
        weights = (kept.weights, chroma_weights, chroma_weights)
        for part, pixels, share in zip(parts(planes, kept), before, weights, strict=True):
            blend(part, pixels, share, kept.hard)

    @abstractmethod
    def _change(self, planes: Planes) -> None:
        """Change the whole frame."""


class _Dim(_Background):
    """Darker, black at intensity 1."""

    def _change(self, planes: Planes) -> None:
        share = 1 - self.intensity
        look_up(planes.y, _BLACK_Y, share)
        for plane in (planes.u, planes.v):
            look_up(plane, _CHROMA_NEUTRAL, share)


class _Desaturate(_Background):
    """Without colour, at intensity 1 wholly."""

    def _change(self, planes: Planes) -> None:
        for plane in (planes.u, planes.v):
            look_up(plane, _CHROMA_NEUTRAL, 1 - self.intensity)


class _Cutout(_Background):
    """One colour, as opaque as the intensity; black unless told."""

    def _change(self, planes: Planes) -> None:
        samples = planes.samples(self.spec.color or (0, 0, 0))
        for plane, sample in zip((planes.y, planes.u, planes.v), samples, strict=True):
            look_up(plane, sample, 1 - self.intensity)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a named effect is made, and how strong it is unless told."""

    intensity: float
    make: Callable[[EffectSpec, float, int], PlanarEffect]


_KINDS: Final = {
    "blur": _Kind(0.75, _Blur),
    "pixelate": _Kind(0.75, _Pixelate),
    "solid": _Kind(1.0, _Solid),
    "outline": _Kind(0.5, _Outline),
    "dim": _Kind(0.65, _Dim),
    "overlay": _Kind(0.45, _Overlay),
    "cutout": _Kind(1.0, _Cutout),
    "desaturate": _Kind(1.0, _Desaturate),
}

PLANAR_EFFECT_NAMES: Final = tuple(_KINDS)
"""Every effect that `make_planar_effect` knows."""


def make_planar_effect(spec: EffectSpec, feather_px: int = 0) -> PlanarEffect:
    """An effect from its spec.

    Args:
        spec: which, and how.
        feather_px: pixels over which it fades out, outside of the region as it is grown; inside it
            is whole. Effects on the background fade in over them.

    Raises:
        ValueError: an unknown name (the message lists the known ones), or a negative feather.
    """
    kind = _KINDS.get(spec.name)
    if kind is None:
        known = ", ".join(PLANAR_EFFECT_NAMES)
        raise ValueError(f"unknown effect {spec.name!r}, expected one of {known}")
    if feather_px < 0:
        raise ValueError(f"expected a feather of 0 or more pixels, found {feather_px}")
    return kind.make(spec, default_intensity(spec), feather_px)


def default_intensity(spec: EffectSpec) -> float:
    """The spec's intensity, or what its effect has unless told."""
    return _KINDS[spec.name].intensity if spec.intensity is None else spec.intensity


def draw_planar_label(planes: Planes, text: str, color: Color, x_px: float, y_px: float) -> None:
    """Draw a label in place, as `draw_label` does on RGB, moved to whole chroma blocks."""
    placed = place_label(text, color, x_px, y_px, *planes.y.shape)
    if placed is None:
        return
    left, top, sprite = placed
    left, top = left & ~1, top & ~1
    height, width = sprite.opacity.shape
    region = Soft(left, top, left + width, top + height, sprite.opacity, sprite.opacity, False)
    y, u, v = planes.from_rgb(sprite.picture)
    blend(region.luma(planes.y), y, sprite.opacity, hard=False)
    for plane, full in ((planes.u, u), (planes.v, v)):
        half = mean_of_block(full)
        blend(region.chroma(plane), half, mean_of_block(sprite.opacity), hard=False)
