"""Between the segmenter's messages and plain values. Blocking; any thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import check_box, check_point, decode_mask

from kinemask_segmenter.engines.base import ObjectMask, Prompt


def prompt_from_message(
    message: segmenter_pb2.ObjectPrompt, height: int, width: int, field: str = "prompt"
) -> Prompt:
    """A prompt on a frame of that size.

    Raises:
        ServiceError: INVALID_ARGUMENT: there is no point, box or mask, or one is not of this frame.
    """
    has_box, has_mask = message.HasField("box"), message.HasField("mask")
    if not (message.points or has_box or has_mask):
        raise errors.invalid(field, "expected a point, a box or a mask, found none of them")
    points = [
        check_point(point, height, width, f"{field}.points[{index}]")
        for index, point in enumerate(message.points)
    ]
    return Prompt(
        object_id=message.object_id,
        points_xy=np.array(points, np.float32).reshape(-1, 2),
        positive=np.array([not point.negative for point in message.points], np.bool_),
        box_xyxy=check_box(message.box, height, width, f"{field}.box") if has_box else None,
        mask=decode_mask(message.mask, height, width, f"{field}.mask") if has_mask else None,
    )


def mask_to_message(
    found: ObjectMask, encoding: media_pb2.MaskEncoding.ValueType, object_id: int | None = None
) -> segmenter_pb2.ObjectMask:
    """One object's mask; `object_id` stands in for the engine's own where it is given."""
    seen = found.area_px > 0 and found.box_xyxy is not None
    return segmenter_pb2.ObjectMask(
        object_id=found.object_id if object_id is None else object_id,
        mask=wire.mask_to_message(found.mask, encoding, found.box_xyxy) if seen else None,
        score=found.score,
        box=wire.box_to_message(found.box_xyxy) if found.box_xyxy is not None else None,
        area_px=found.area_px,
    )


def result_to_message(
    frame: media_pb2.Frame,
    size: tuple[int, int],
    objects: Sequence[ObjectMask],
    encoding: media_pb2.MaskEncoding.ValueType,
) -> segmenter_pb2.SegmentVideoResult:
    """A frame's result without its timing; `size` is (height, width)."""
    return segmenter_pb2.SegmentVideoResult(
        frame_id=frame.frame_id,
        capture_time_us=frame.capture_time_us,
        objects=[mask_to_message(found, encoding) for found in objects],
        height=size[0],
        width=size[1],
    )
