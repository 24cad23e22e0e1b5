"""The effects, drawn on the original frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.effects import EffectObject, EffectSpec, NameRule, Outline, Who
    from kinemask.results import LiveFrame
    from kinemask.types import LiveObject, RgbImage


class Painter:
    """Draws a run's effects, one after another."""

    def __init__(self, specs: Sequence[EffectSpec], rule: NameRule | None = None) -> None:
        """`rule` says on whom they are drawn; None: on everybody."""
        from kinemask.effects import make_effect

        self._effects = [make_effect(spec) for spec in specs]
        self._rule = rule
        # Whoever keeps their pixels is left as they are; the background is not somebody's.
        self._restores = not any(effect.background for effect in self._effects)

    def draw(self, image: RgbImage, answer: LiveFrame) -> RgbImage:
        """`(H, W, 3)` uint8 RGB, changed where the frame's objects are; in place if it can be."""
        there = [entry for entry in answer.objects if _is_there(entry)]
        rule = self._rule
        drawn = [entry for entry in there if rule is None or rule.draws_on(_who(entry))]
        kept = _outlines([entry for entry in there if rule is not None and rule.keeps(_who(entry))])
        original = image.copy() if kept and drawn and self._restores else None
        found = [self._drawable(entry) for entry in drawn]
        for effect in self._effects:
            own = image.flags.c_contiguous and image.flags.writeable
            image = effect.apply(image, found, in_place=own)
        if original is not None:
            from kinemask.effects import restore

            restore(image, original, kept, _outlines(drawn))
        return image

    @staticmethod
    def _drawable(entry: LiveObject) -> EffectObject:
        from kinemask.effects import EffectObject, palette_color

        # Without a mask (its stage is down) the whole of its last box is taken.
        known = entry.name.name if entry.name is not None and entry.name.decided else ""
        return EffectObject(
            mask=entry.mask,
            box_xyxy=entry.box,
            color=palette_color(entry.object_id),
            label=known or f"{entry.label or 'object'} {entry.object_id}",
        )


def _outlines(entries: Sequence[LiveObject]) -> list[Outline]:
    """Of those that have a mask."""
    from kinemask.effects import Outline

    return [Outline(entry.mask, entry.score) for entry in entries if entry.mask is not None]


def _is_there(entry: LiveObject) -> bool:
    return entry.box is not None


def _who(entry: LiveObject) -> Who:
    from kinemask.effects import Who

    words, name = f"{entry.label} {entry.prompt}", entry.name
    return Who(words) if name is None else Who(words, name.decided, name.person_id, name.name)
