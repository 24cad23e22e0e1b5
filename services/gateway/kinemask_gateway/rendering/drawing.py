"""Rules on a frame: who is drawn on, and how much of each object is covered then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kinemask import masks
from kinemask.effects import (
    Back,
    EffectObject,
    Outline,
    Planes,
    Touched,
    coming_back,
    draw_planar_label,
    palette_color,
)
from numpy.typing import NDArray

from kinemask_gateway.rendering.coverage import Coverage, extend
from kinemask_gateway.rendering.rules import Rule, is_decided, may_have_name
from kinemask_gateway.tracks.values import MaskOrigin, TrackedFrame, TrackedObject


@dataclass(frozen=True)
class _Sight:
    """An object that is on the frame."""

    entry: TrackedObject
    item: EffectObject


@dataclass(frozen=True)
class _Drawn:
    """An effect that was drawn."""

    name: str
    object_ids: frozenset[int]
    """Whom it was drawn on; for an effect on the background, whom it left out."""
    touched: Touched
    by_mask: bool
    """Whether its regions are the objects' masks, not their boxes."""


class Drawing:
    """Draws rules. Holds no state: one may serve many threads."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._by_name = any(rule.selection.by_name for rule in rules)

    def draw(self, planes: Planes, frame: TrackedFrame, coverage: Coverage) -> None:
        """Draw in place, and note how each object is covered.

        Raises:
            ValueError: the tracks are of a video of another size.
        """
        sights = [_Sight(e, _item(e, *planes.y.shape)) for e in frame.objects if _is_there(e)]
        drawn: list[_Drawn] = []
        for rule in self._rules:
            meant = [sight for sight in sights if rule.selection.covers(sight.entry)]
            ids = frozenset(sight.entry.object_id for sight in meant)
            items = [sight.item for sight in meant]
            back = _coming_back(rule, sights, meant, *planes.y.shape)
            drawn += [
                _Drawn(spec.name, ids, effect.draw(planes, items, back), spec.region == "mask")
                for effect, spec in ((effect, effect.spec) for effect in rule.effects)
            ]
            if rule.show_labels:
                for sight in meant:
                    _label(planes, sight)
        self._note(coverage, frame, sights, drawn, planes.y.shape)

    def _note(
        self,
        coverage: Coverage,
        frame: TrackedFrame,
        sights: Sequence[_Sight],
        drawn: Sequence[_Drawn],
        size: tuple[int, ...],
    ) -> None:
        union = _Union(drawn, size)
        for sight in sights:
            entry = sight.entry
            covered = coverage.of(entry.object_id)
            covered.label = entry.label
            if is_decided(entry) and entry.name is not None:
                covered.name = entry.name.name
            elif self._by_name and may_have_name(entry):
                extend(covered.undecided, frame.frame_index, frame.frame_index)
            names = [one.name for one in drawn if _reaches(one, entry.object_id)]
            share = union.share(sight)
            covered.add_frame(share, names, entry.origin is MaskOrigin.LEAK_GUARD)


class _Union:
    """Every pixel that some effect covers wholly; made only if somebody asks."""

    def __init__(self, drawn: Sequence[_Drawn], size: tuple[int, ...]) -> None:
        self._drawn = drawn
        self._size = size
        self._covered: NDArray[np.uint8] | None = None

    def share(self, sight: _Sight) -> float:
        """How much of an object's mask is covered: 0..1."""
        mask, object_id = sight.item.mask, sight.entry.object_id
        own = [
            one for one in self._drawn if _reaches(one, object_id) and not one.touched.background
        ]
        if mask is None:
            return float(bool(own))
        if any(one.by_mask for one in own):  # a region is never less than the mask
            return 1.0
        if not any(one.touched.regions or one.touched.background for one in self._drawn):
            return 0.0
        if self._covered is None:
            self._covered = np.zeros(self._size, np.uint8)
            for one in self._drawn:
                one.touched.add_to(self._covered)
        x_min, y_min, x_max, y_max = sight.item.window_xyxy or (0, 0, *self._size[::-1])
        part = self._covered[y_min:y_max, x_min:x_max] > 0
        area = int(np.count_nonzero(mask))
        return int(np.count_nonzero(part & mask)) / area if area else 0.0


def _reaches(one: _Drawn, object_id: int) -> bool:
    return (object_id in one.object_ids) != one.touched.background


def _is_there(entry: TrackedObject) -> bool:
    return entry.present or (not entry.rle and entry.box_xyxy is not None)


def _item(entry: TrackedObject, height: int, width: int) -> EffectObject:
    found = masks.decode_rle_window(entry.rle, height, width) if entry.present else None
    mask, window = found or (None, None)
    color = palette_color(entry.object_id)
    return EffectObject(mask, entry.box_xyxy, color, window_xyxy=window)


def _coming_back(
    rule: Rule, sights: Sequence[_Sight], meant: Sequence[_Sight], height: int, width: int
) -> Sequence[Back]:
    """What a rule must give back to those whom its names leave out."""
    if not (rule.selection.by_name and meant):
        return ()
    kept = [one for one in sights if one.item.mask is not None and rule.selection.keeps(one.entry)]
    if not kept:
        return ()
    covered = [_outline(one, height, width) for one in meant]
    return coming_back([_outline(one, height, width) for one in kept], covered, height, width)


def _outline(sight: _Sight, height: int, width: int) -> Outline:
    """A leak guard's mask is a guess. So is a box: whoever is in it may be anywhere in it."""
    mask, window = sight.item.mask, sight.item.window_xyxy
    if mask is None:
        x_min, y_min, x_max, y_max = sight.item.box_xyxy or (0, 0, width, height)
        window = (
            *(max(math.floor(x_min), 0), max(math.floor(y_min), 0)),
            *(min(math.ceil(x_max), width), min(math.ceil(y_max), height)),
        )
        mask = np.ones((max(window[3] - window[1], 0), max(window[2] - window[0], 0)), np.bool_)
    guess = sight.item.mask is None or sight.entry.origin is MaskOrigin.LEAK_GUARD
    return Outline(mask, 0.0 if guess else sight.entry.score, window)


def _label(planes: Planes, sight: _Sight) -> None:
    entry = sight.entry
    box = entry.box_xyxy or (0.0, 0.0, 0.0, 0.0)
    known = entry.name.name if is_decided(entry) and entry.name is not None else ""
    text = f"{known or entry.label} #{entry.object_id}".strip()
    draw_planar_label(planes, text, sight.item.color, box[0], box[1])
