"""The plain values that effects work on."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kinemask.masks import Mask

Color: TypeAlias = tuple[int, int, int]
"""Red, green, blue, each 0..255."""


@dataclass(frozen=True, slots=True, eq=False)
class EffectObject:
    """One object of a frame. At least one of mask and box is needed."""

    mask: Mask | None = None
    """`(H, W)` bool of the frame's size; an empty one means that the object is not there now. None
    means the whole box."""
    box_xyxy: tuple[float, float, float, float] | None = None
    """Pixels; may reach outside the frame. Where the label goes (else the mask's own box), and the
    region where there is no mask or the spec asks for boxes. It never narrows a mask."""
    color: Color = (230, 57, 70)
    """For effects that have a colour, unless the spec sets one."""
    label: str | None = None
    """Drawn by `overlay`."""
    window_xyxy: tuple[int, int, int, int] | None = None
    """If set, `mask` is of these pixels alone, within the frame; elsewhere it is empty."""

    def __post_init__(self) -> None:
        if self.mask is None and self.box_xyxy is None:
            raise ValueError("expected an object with a mask or a box, found neither")
        if self.box_xyxy is not None and not all(map(math.isfinite, self.box_xyxy)):
            raise ValueError(f"expected a finite box, found {self.box_xyxy}")
        check_color(self.color)


@dataclass(frozen=True, slots=True)
class EffectSpec:
    """Which effect, and how."""

    name: str
    """One of `EFFECT_NAMES`."""
    intensity: float | None = None
    """0..1; None is the effect's own default. blur and pixelate: from 24 averages along the longer
    side of an object (0) to 3 (1). solid: brightness of the colour; never shows what is covered.
    outline: thickness, up to a hundredth of the frame's shorter side. dim: how dark, black at 1.
    overlay: opacity of the tint."""
    color: Color | None = None
    """For solid, outline and overlay; None takes each object's."""
    grow_px: float = 0
    """Pixels by which each region grows on every side."""
    grow_fraction: float = 0.0
    """The same, as a share of the longer side of each region's box; added to `grow_px`."""
    region: Literal["mask", "box"] = "mask"
    """The object's mask, or the whole box (its own, else the mask's)."""

    def __post_init__(self) -> None:
        if self.intensity is not None and not 0 <= self.intensity <= 1:
            raise ValueError(f"expected an intensity of 0..1, found {self.intensity}")
        if not 0 <= self.grow_px < math.inf or not 0 <= self.grow_fraction < math.inf:
            raise ValueError(
                f"expected growth of 0 or more, found {self.grow_px} px and {self.grow_fraction}"
            )
        if self.region not in ("mask", "box"):
            raise ValueError(f"expected region mask or box, found {self.region!r}")
        if self.color is not None:
            check_color(self.color)


def check_color(color: Color) -> None:
    """ValueError unless three integers of 0..255."""
    if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
        raise ValueError(f"expected a colour of three channels of 0..255, found {color}")
