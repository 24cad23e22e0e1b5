"""What is drawn on which objects, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kinemask.effects import (
    EffectSpec,
    PlanarEffect,
    default_intensity,
    is_nameable,
    make_planar_effect,
)
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask_chassis import errors

from kinemask_gateway.tracks.values import TrackedObject


@dataclass(frozen=True)
class Selection:
    """Which objects are meant: those in all lists that are not empty, less the excepted names."""

    object_ids: frozenset[int] = frozenset()
    prompts: frozenset[str] = frozenset()
    only_names: frozenset[str] = frozenset()
    except_names: frozenset[str] = frozenset()

    @property
    def by_name(self) -> bool:
        """Whether names decide."""
        return bool(self.only_names or self.except_names)

    def covers(self, entry: TrackedObject) -> bool:
        """Whether an object is meant on a frame. Somebody of whom it is not known who they are
        is."""
        if self.object_ids and entry.object_id not in self.object_ids:
            return False
        if self.prompts and _plain(entry.prompt) not in self.prompts:
            return False
        return self._names_cover(entry)

    def keeps(self, entry: TrackedObject) -> bool:
        """Whether it is known who an object is and the names leave them out, whatever the other
        lists say. What has no name, like a body around a covered face, is kept by nobody."""
        return self.by_name and is_decided(entry) and not self._names_cover(entry)

    def _names_cover(self, entry: TrackedObject) -> bool:
        if not is_decided(entry):
            return not self.only_names or may_have_name(entry)
        names = _names(entry)
        return bool(not self.only_names or names & self.only_names) and not (
            names & self.except_names
        )


@dataclass(frozen=True)
class Rule:
    """What is drawn, one after another, on which objects."""

    selection: Selection
    effects: tuple[PlanarEffect, ...]
    show_labels: bool


def is_decided(entry: TrackedObject) -> bool:
    """Whether it is known who an object is; for one without a face, never."""
    return entry.name is not None and entry.name.decided


def may_have_name(entry: TrackedObject) -> bool:
    """Whether an object may have a name: faces and people may, a cup never."""
    return is_nameable(f"{entry.label} {entry.prompt}")


def rules_of(rules: Iterable[pb.RenderRule]) -> tuple[Rule, ...]:
    """Rules from their messages.

    Raises:
        ServiceError: INVALID_ARGUMENT: an unknown effect, or a value out of range.
    """
    return tuple(
        Rule(_selection(rule), _effects(rule, f"spec.rules[{number}]"), rule.show_labels)
        for number, rule in enumerate(rules)
    )


def fill_in(spec: pb.RenderJobSpec) -> None:
    """Put every default into a spec that `rules_of` takes."""
    spec.audio = spec.audio or pb.AUDIO_POLICY_KEEP
    spec.crf = spec.crf or 20
    for effect in (effect for rule in spec.rules for effect in rule.effects):
        effect.intensity = default_intensity(_spec(effect))
        effect.region = effect.region or live_pb2.EFFECT_REGION_MASK


def _selection(rule: pb.RenderRule) -> Selection:
    lists = (rule.prompts, rule.only_names, rule.except_names)
    return Selection(
        frozenset(rule.object_ids), *(frozenset(map(_plain, words)) for words in lists)
    )


def _effects(rule: pb.RenderRule, where: str) -> tuple[PlanarEffect, ...]:
    made = []
    for number, effect in enumerate(rule.effects):
        try:
            made.append(make_planar_effect(_spec(effect), rule.feather_px))
        except ValueError as error:
            field = f"{where}.effects[{number}]"
            raise errors.invalid(field, str(error), reason="UNKNOWN_EFFECT") from error
    return tuple(made)


def _spec(effect: live_pb2.Effect) -> EffectSpec:
    color = effect.color_rgb
    return EffectSpec(
        effect.name,
        intensity=effect.intensity if effect.HasField("intensity") else None,
        color=(color >> 16, color >> 8 & 255, color & 255)
        if effect.HasField("color_rgb")
        else None,
        grow_px=effect.grow_px,
        grow_fraction=effect.grow_fraction,
        region="box" if effect.region == live_pb2.EFFECT_REGION_BOX else "mask",
    )


def _names(entry: TrackedObject) -> frozenset[str]:
    """What a person may be called by: the name or the id."""
    if entry.name is None:
        return frozenset()
    return frozenset(_plain(text) for text in (entry.name.name, entry.name.person_id) if text)


def _plain(text: str) -> str:
    """Words are the same whatever their case and the space around them."""
    return text.strip().casefold()
