"""Whose pixels come back on frames that `kinemask track` draws on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from kinemask import masks
from kinemask.cli.track.draw import Painter
from kinemask.effects import EffectSpec, NameRule
from kinemask.results import LiveFrame
from kinemask.types import Box, EncodedMask, LiveObject, ObjectName

HEIGHT, WIDTH = 60, 120
BoolMask = npt.NDArray[np.bool_]


def _object(object_id: int, x: int, name: str | None, label: str = "face") -> LiveObject:
    """A mask 40 pixels wide, from the column `x` on."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[10:50, x : x + 40] = True
    return LiveObject(
        object_id,
        0.9,
        Box(x, 10, x + 40, 50),
        1600,
        EncodedMask(WIDTH, HEIGHT, "rle", masks.encode_rle(mask)),
        label,
        name=None if name is None else ObjectName(name, name, 0.9, decided=True),
    )


def _drawn(spec: EffectSpec, rule: NameRule, *objects: LiveObject) -> npt.NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    return Painter([spec], rule).draw(image, LiveFrame(0, objects=objects))


def test_the_excepted_one_gets_pixels_back_that_an_effect_grew_over() -> None:
    solid = EffectSpec("solid", color=(0, 0, 0), grow_px=9)
    ada, bob = _object(1, 10, "Ada"), _object(2, 50, None)
    found = _drawn(solid, NameRule(except_names=("Ada",)), ada, bob)
    assert (found[10:50, 10:50] == 200).all()
    assert (found[10:50, 50:90] == 0).all()


def test_what_has_no_name_gets_nothing_back() -> None:
    solid = EffectSpec("solid", color=(0, 0, 0), grow_px=9)
    cup, ada = _object(1, 10, None, "cup"), _object(2, 50, "Ada")
    found = _drawn(solid, NameRule(only_names=("Ada",)), cup, ada)
    assert (found[20:40, 45:90] == 0).all()


def test_nobody_comes_back_out_of_a_dimmed_background() -> None:
    bob, ada = _object(1, 10, "Bob"), _object(2, 50, "Ada")
    found = _drawn(EffectSpec("dim"), NameRule(only_names=("Ada",)), bob, ada)
    assert (found[10:50, 50:90] == 200).all()
    assert (found[10:50, 10:50] < 200).all()
