"""What is drawn on objects: blur, pixelate, solid, outline, dim, overlay.

    effect = make_effect("blur", grow_fraction=0.1)
    image = effect.apply(image, [EffectObject(mask=mask, color=palette_color(7))])

Every effect changes only its region: the pixels of the objects' masks (grown if asked), for `dim`
all the others, for `overlay` also the labels' pills. All other pixels stay byte for byte.

Privacy. `solid` is proof: what it writes does not depend on the pixels it covers. `blur` and
`pixelate` keep a few averages per object (about 5 x 5 at the default intensity, whatever its size):
too few to recognise a face in one picture, but a video of a moving face reveals more than any one
of its frames. Where that matters, use `solid`, and grow the region.

For rendering files there are the same effects on YCbCr planes, with a feather, and two more,
`cutout` and `desaturate`: `make_planar_effect`.
"""

from kinemask.effects._effects import EFFECT_NAMES, Effect, make_effect
from kinemask.effects._names import NameRule, Who, is_nameable, is_person
from kinemask.effects._palette import palette_color
from kinemask.effects._planar import (
    PLANAR_EFFECT_NAMES,
    PlanarEffect,
    default_intensity,
    draw_planar_label,
    make_planar_effect,
)
from kinemask.effects._planes import Planes
from kinemask.effects._restoring import Back, Outline, coming_back, restore
from kinemask.effects._touched import Touched
from kinemask.effects._types import Color, EffectObject, EffectSpec

__all__ = [
    "EFFECT_NAMES",
    "PLANAR_EFFECT_NAMES",
    "Back",
    "Color",
    "Effect",
    "EffectObject",
    "EffectSpec",
    "NameRule",
    "Outline",
    "PlanarEffect",
    "Planes",
    "Touched",
    "Who",
    "coming_back",
    "default_intensity",
    "draw_planar_label",
    "is_nameable",
    "is_person",
    "make_effect",
    "make_planar_effect",
    "palette_color",
    "restore",
]
