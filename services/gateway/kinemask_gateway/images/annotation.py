"""The picture with the answers drawn in. Blocking; any thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from kinemask import effects, images, wire
from kinemask.effects._labels import draw_label
from kinemask.v1 import faces_pb2, images_pb2, live_pb2, segmenter_pb2, videos_pb2

from kinemask_gateway.live.rendering import effect_from_message

_DEFAULT_JPEG_QUALITY = 90
_DEFAULT_EFFECTS = ("overlay", "outline")
_NAMED = (faces_pb2.FACE_DECISION_KNOWN, faces_pb2.FACE_DECISION_STRANGER)


class Annotation:
    """What is to be drawn, checked before any service is asked."""

    def __init__(self, options: images_pb2.AnnotatedOptions) -> None:
        """Raises ServiceError INVALID_ARGUMENT for an unknown effect."""
        wanted = list(options.effects) or [live_pb2.Effect(name=n) for n in _DEFAULT_EFFECTS]
        self._options = options
        self._effects = [
            effect_from_message(effect, f"annotated.effects[{index}]")
            for index, effect in enumerate(wanted)
        ]
        self._boxes = effects.make_effect(effects.EffectSpec("outline", region="box"))

    def draw(self, rgb: wire.RgbImage, response: images_pb2.AnalyzeResponse) -> bytes:
        """The encoded picture."""
        masked = list(_masked(response))
        boxed = list(_boxed(response))
        image = rgb
        for effect in self._effects if masked else ():
            image = effect.apply(image, [_without_label(one) for one in masked])
        if boxed and not self._options.hide_boxes:
            image = self._boxes.apply(image, boxed)
        if not self._options.hide_labels:
            image = _labelled(image, [*masked, *boxed])
        if self._options.format == videos_pb2.PICTURE_FORMAT_PNG:
            return images.encode_png(image)
        return images.encode_jpeg(image, self._options.jpeg_quality or _DEFAULT_JPEG_QUALITY)


def _masked(response: images_pb2.AnalyzeResponse) -> Iterator[effects.EffectObject]:
    """Everything with a mask; colours count on over the parts."""
    for mask in response.everything.masks:
        yield from _of_mask(mask, "")
    for prompted in response.segment.results:
        for mask in prompted.candidates[:1]:
            yield from _of_mask(mask, "")
    for instance in [*response.instances.instances, *response.object.instances]:
        found = instance.detection
        yield from _of_mask(instance.mask, f"{found.label} {found.score:.2f}")


def _of_mask(mask: segmenter_pb2.ObjectMask, label: str) -> Iterator[effects.EffectObject]:
    if mask.HasField("mask") and mask.HasField("box"):
        yield effects.EffectObject(
            mask=wire.mask_from_message(mask.mask),
            box_xyxy=wire.box_from_message(mask.box),
            color=effects.palette_color(mask.object_id),
            label=label or None,
        )


def _boxed(response: images_pb2.AnalyzeResponse) -> Iterator[effects.EffectObject]:
    """Everything that has only a box."""
    for number, found in enumerate(response.detect.detections, 1):
        yield effects.EffectObject(
            box_xyxy=wire.box_from_message(found.box),
            color=effects.palette_color(number),
            label=f"{found.label} {found.score:.2f}",
        )
    for number, face in enumerate(response.faces.faces, 1):
        yield effects.EffectObject(
            box_xyxy=wire.box_from_message(face.face.box),
            color=effects.palette_color(number),
            label=face.best.display_name if face.decision in _NAMED else "face",
        )


def _labelled(image: wire.RgbImage, found: Sequence[effects.EffectObject]) -> wire.RgbImage:
    """With each object's label at its box."""
    drawn = np.ascontiguousarray(image).copy()
    for one in found:
        if one.label and one.box_xyxy is not None:
            draw_label(drawn, one.label, one.color, *one.box_xyxy[:2])
    return drawn


def _without_label(one: effects.EffectObject) -> effects.EffectObject:
    return effects.EffectObject(mask=one.mask, box_xyxy=one.box_xyxy, color=one.color)
