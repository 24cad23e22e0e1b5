"""Effects on a frame, as the stream asked for them."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask import effects, images, wire
from kinemask.v1 import live_pb2
from kinemask_chassis import errors

_DEFAULT_JPEG_QUALITY = 90


class Rendering:
    """Draws a stream's effects and encodes the picture.

    An object that is not in sight is not drawn; one without a mask is drawn by its box.
    """

    def __init__(self, config: live_pb2.EffectStage, send_masks: bool) -> None:
        """`send_masks`: the client asked for masks too, beside the picture.

        Raises:
            ServiceError: INVALID_ARGUMENT: an unknown effect, or names of both kinds.
        """
        try:
            self._rule = effects.NameRule(tuple(config.except_names), tuple(config.only_names))
        except ValueError as error:
            raise errors.invalid("effect.only_names", str(error)) from error
        self.send_masks = send_masks
        self.config = config
        self._quality = config.jpeg_quality or _DEFAULT_JPEG_QUALITY
        self._effects = [
            effect_from_message(effect, f"effect.effects[{index}]")
            for index, effect in enumerate(config.effects)
        ]

    def render(self, rgb: wire.RgbImage, objects: Sequence[live_pb2.LiveObject]) -> bytes:
        """A JPEG of the frame with every effect drawn, one after another. Any thread."""
        there = [entry for entry in objects if entry.HasField("box")]
        meant = [entry for entry in there if self._rule.draws_on(_who(entry))]
        drawn = [_drawable(entry) for entry in meant]
        image = rgb
        for effect in self._effects:
            image = effect.apply(image, drawn)
        if self._rule and drawn and not any(effect.background for effect in self._effects):
            kept = [entry for entry in there if self._rule.keeps(_who(entry))]
            effects.restore(image, rgb, _outlines(kept), _outlines(meant))
        return images.encode_jpeg(image, self._quality)


def effect_from_message(effect: live_pb2.Effect, field: str) -> effects.Effect:
    """What a message asks to be drawn; `field` is where it stands in the request.

    Raises:
        ServiceError: INVALID_ARGUMENT: an unknown effect, or numbers out of range.
    """
    color = effect.color_rgb
    try:
        spec = effects.EffectSpec(
            effect.name,
            intensity=effect.intensity if effect.HasField("intensity") else None,
            color=(color >> 16, color >> 8 & 255, color & 255)
            if effect.HasField("color_rgb")
            else None,
            grow_px=effect.grow_px,
            grow_fraction=effect.grow_fraction,
            region="box" if effect.region == live_pb2.EFFECT_REGION_BOX else "mask",
        )
        return effects.make_effect(spec)
    except ValueError as error:
        raise errors.invalid(field, str(error), reason="UNKNOWN_EFFECT") from error


def _who(entry: live_pb2.LiveObject) -> effects.Who:
    words = f"{entry.label} {entry.prompt}"
    return effects.Who(words, entry.name.decided, entry.name.person_id, entry.name.name)


def _outlines(entries: Sequence[live_pb2.LiveObject]) -> list[effects.Outline]:
    """Of those that have a mask."""
    return [
        effects.Outline(wire.mask_from_message(entry.mask), entry.score)
        for entry in entries
        if entry.HasField("mask")
    ]


def _drawable(entry: live_pb2.LiveObject) -> effects.EffectObject:
    return effects.EffectObject(
        mask=wire.mask_from_message(entry.mask) if entry.HasField("mask") else None,
        box_xyxy=wire.box_from_message(entry.box),
        color=effects.palette_color(entry.object_id),
        label=entry.label or None,
    )
