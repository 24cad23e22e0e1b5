"""A frame with its masks and prompts drawn in. Blocking; any thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from kinemask import effects, masks, wire
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import live_pb2

from kinemask_gateway.annotations.masks import Entries
from kinemask_gateway.annotations.prompt_records import PromptRecord
from kinemask_gateway.annotations.records import ObjectRecord
from kinemask_gateway.library.pictures import Picture, packed
from kinemask_gateway.live.rendering import effect_from_message
from kinemask_gateway.tracks.values import TrackedObject

_DEFAULT_EFFECTS = ("overlay", "outline")
_DEFAULT_JPEG_QUALITY = 90
_GREEN, _RED, _WHITE = (40, 200, 60), (220, 40, 40), (255, 255, 255)


class Overlay:
    """What is to be drawn, checked before any frame is decoded."""

    def __init__(self, request: pb.GetOverlayRequest) -> None:
        """Raises ServiceError INVALID_ARGUMENT for an unknown effect."""
        wanted = list(request.effects) or [live_pb2.Effect(name=n) for n in _DEFAULT_EFFECTS]
        self._effects = [
            effect_from_message(effect, f"effects[{index}]") for index, effect in enumerate(wanted)
        ]
        self._ids = frozenset(request.object_ids)
        self._side_px = request.max_side_px
        self._quality = request.jpeg_quality or _DEFAULT_JPEG_QUALITY

    def draw(
        self,
        rgb: wire.RgbImage,
        entries: Entries,
        objects: Mapping[int, ObjectRecord],
        prompts: Sequence[PromptRecord],
    ) -> Picture:
        """A JPEG of a frame, with the masks in their objects' colours."""
        found = [
            _drawable(entry, objects[object_id], *rgb.shape[:2])
            for object_id, entry in entries.items()
            if entry.present and object_id in objects and self._takes(object_id)
        ]
        image = rgb
        for effect in self._effects:
            image = effect.apply(image, found)
        told = [entry for entry in prompts if self._takes(entry.object_id)]
        if told:
            image = np.ascontiguousarray(image).copy()
            for entry in told:
                _draw_prompt(image, entry, objects[entry.object_id])
        return packed(image, self._side_px, self._quality)

    def _takes(self, object_id: int) -> bool:
        return not self._ids or object_id in self._ids


def _drawable(
    entry: TrackedObject, known: ObjectRecord, height: int, width: int
) -> effects.EffectObject:
    return effects.EffectObject(
        mask=masks.decode_rle(entry.rle, height, width),
        box_xyxy=entry.box_xyxy,
        color=_color(known),
        label=f"{known.label} #{known.object_id}".strip(),
    )


def _color(known: ObjectRecord) -> effects.Color:
    return known.color_rgb >> 16, known.color_rgb >> 8 & 255, known.color_rgb & 255


def _draw_prompt(image: wire.RgbImage, entry: PromptRecord, known: ObjectRecord) -> None:
    """Points as discs, green on the object and red beside it; boxes in the object's colour."""
    line_px = max(round(min(image.shape[:2]) / 240), 1)
    if entry.prompt.HasField("box"):
        x_min, y_min, x_max, y_max = map(round, wire.box_from_message(entry.prompt.box))
        cv2.rectangle(image, (x_min, y_min), (x_max - 1, y_max - 1), _color(known), line_px)
    for point in entry.prompt.points:
        center = (round(point.x), round(point.y))
        cv2.circle(image, center, 4 * line_px, _WHITE, -1, cv2.LINE_AA)
        color = _RED if point.negative else _GREEN
        cv2.circle(image, center, 3 * line_px, color, -1, cv2.LINE_AA)
