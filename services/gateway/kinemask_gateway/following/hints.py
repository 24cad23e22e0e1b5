"""Boxes of detections whose objects' masks are not to be trusted.

Only the leak guard draws them: where a mask disagrees with its detection, or the detection lies
over another object, of which the mask may have taken a part for its own, the whole box of the
detection is covered. They are stored among the first pass's masks, with the guard's origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from kinemask import masks

from kinemask_gateway.live.objects import CROWDED_IOU, BoxXyxy, contained, iou
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedObject

_WITHIN = 0.9
_ALIKE = 0.7


def doubtful(
    objects: Sequence[TrackedObject], found: Mapping[int, BoxXyxy], size: tuple[int, int]
) -> list[TrackedObject]:
    """Detections whose object's mask is not to be trusted, as hints; `size`: (height, width)."""
    by_id = {entry.object_id: entry for entry in objects}
    hints = []
    for object_id, box in sorted(found.items()):
        entry = by_id.get(object_id)
        if entry is None:
            continue
        others = [o.box_xyxy for o in objects if o is not entry and o.box_xyxy is not None]
        crowded = any(iou(box, other) > CROWDED_IOU for other in others)
        if not crowded and _agree(entry.box_xyxy, box):
            continue
        hints.append(_hint(entry, box, size))
    return [hint for hint in hints if hint.area_px]


def without_hints(objects: Iterable[TrackedObject]) -> tuple[TrackedObject, ...]:
    """The objects with masks of their own."""
    return tuple(entry for entry in objects if entry.origin is not MaskOrigin.LEAK_GUARD)


def _agree(mask_box: BoxXyxy | None, box: BoxXyxy) -> bool:
    if mask_box is None:
        return False
    return contained(box, mask_box) >= _WITHIN and iou(box, mask_box) >= _ALIKE


def _hint(entry: TrackedObject, box: BoxXyxy, size: tuple[int, int]) -> TrackedObject:
    height, width = size
    x_min, y_min = max(int(box[0]), 0), max(int(box[1]), 0)
    x_max, y_max = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    mask = np.zeros(size, np.bool_)
    mask[y_min:y_max, x_min:x_max] = True
    edges = (float(x_min), float(y_min), float(x_max), float(y_max))
    return TrackedObject(
        entry.object_id,
        entry.label,
        entry.prompt,
        entry.score,
        ObjectState.CONFIRMED,
        MaskOrigin.LEAK_GUARD,
        edges,
        masks.encode_rle(mask, edges),
        int(mask.sum()),
    )
