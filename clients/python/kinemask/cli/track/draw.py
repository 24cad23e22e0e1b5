"""The effects, drawn on the original frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.effects import EffectObject, EffectSpec
    from kinemask.results import LiveFrame
    from kinemask.types import LiveObject, RgbImage


class Painter:
    """Draws a run's effects, one after another."""

    def __init__(self, specs: Sequence[EffectSpec]) -> None:
        from kinemask.effects import make_effect

        self._effects = [make_effect(spec) for spec in specs]

    def draw(self, image: RgbImage, answer: LiveFrame) -> RgbImage:
        """`(H, W, 3)` uint8 RGB, changed where the frame's objects are; in place if it can be."""
        found = [self._drawable(entry) for entry in answer.objects if _is_there(entry)]
        for effect in self._effects:
            own = image.flags.c_contiguous and image.flags.writeable
            image = effect.apply(image, found, in_place=own)
        return image

    @staticmethod
    def _drawable(entry: LiveObject) -> EffectObject:
        from kinemask.effects import EffectObject, palette_color

        # Without a mask (its stage is down) the whole of its last box is taken.
        return EffectObject(
            mask=entry.mask,
            box_xyxy=entry.box,
            color=palette_color(entry.object_id),
            label=f"{entry.label or 'object'} {entry.object_id}",
        )


def _is_there(entry: LiveObject) -> bool:
    return entry.box is not None
