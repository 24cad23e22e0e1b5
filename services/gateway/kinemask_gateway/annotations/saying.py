"""What is said of an object on a frame: checked, stored, and joined into one prompt."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask import masks, wire
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors, media

from kinemask_gateway.annotations.prompt_records import Base
from kinemask_gateway.tracks.messages import Size
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedObject

_MOST_POINTS = 256


def checked(
    prompt: segmenter_pb2.ObjectPrompt, size: Size, field: str
) -> segmenter_pb2.ObjectPrompt:
    """A prompt as it is stored: its mask as RLE. Blocking for masks.

    Raises:
        ServiceError: INVALID_ARGUMENT: it says nothing, or something outside of the frame.
    """
    height, width = size
    stored = segmenter_pb2.ObjectPrompt()
    stored.CopyFrom(prompt)
    for number, point in enumerate(prompt.points):
        media.check_point(point, height, width, f"{field}.points[{number}]")
    if prompt.HasField("box"):
        media.check_box(prompt.box, height, width, f"{field}.box")
    if prompt.HasField("mask"):
        mask = media.decode_mask(prompt.mask, height, width, f"{field}.mask")
        if not mask.any():
            what = "expected a mask with at least one pixel, got an empty one"
            raise errors.invalid(f"{field}.mask", what, reason="EMPTY_MASK")
        stored.mask.CopyFrom(_rle_mask(masks.encode_rle(mask), size))
    if not (prompt.points or prompt.HasField("box") or prompt.HasField("mask")):
        what = "expected points, a box or a mask, got none of them"
        raise errors.invalid(field, what, reason="EMPTY_PROMPT")
    return stored


def joined(
    said: Sequence[segmenter_pb2.ObjectPrompt], base: Base, size: Size
) -> segmenter_pb2.ObjectPrompt | None:
    """All that was said of an object on a frame, as one prompt; None if no place is said.

    Points join each other; a box or a mask replaces what was said before it. Points alone correct
    the mask that stood there before, the `base`.

    Raises:
        ServiceError: INVALID_ARGUMENT: too many points.
    """
    whole = segmenter_pb2.ObjectPrompt()
    for prompt in said:
        if prompt.HasField("box") or prompt.HasField("mask"):
            whole.Clear()
        whole.MergeFrom(prompt)
    if len(whole.points) > _MOST_POINTS:
        what = f"expected at most {_MOST_POINTS} of an object on a frame, got {len(whole.points)}"
        raise errors.invalid("prompts", what, reason="TOO_MANY_POINTS")
    if not whole.HasField("box") and not whole.HasField("mask"):
        if base.rle:
            whole.mask.CopyFrom(_rle_mask(base.rle, size))
        elif all(point.negative for point in whole.points):
            return None
    return whole


def is_mask_alone(prompt: segmenter_pb2.ObjectPrompt) -> bool:
    """Whether the mask is to be taken as it is."""
    return prompt.HasField("mask") and not prompt.points and not prompt.HasField("box")


def entry_of_rle(object_id: int, rle: bytes, size: Size, score: float = 1.0) -> TrackedObject:
    """A mask as it is stored."""
    box = masks.rle_box(rle, *size)
    if box is None:
        return absent(object_id)
    x_min, y_min, x_max, y_max = map(float, box)
    return TrackedObject(
        object_id,
        "",
        "",
        score,
        ObjectState.CONFIRMED,
        MaskOrigin.FOLLOWED,
        (x_min, y_min, x_max, y_max),
        rle,
        masks.rle_area(rle, *size),
    )


def entry_of_message(object_id: int, mask: segmenter_pb2.ObjectMask) -> TrackedObject:
    """A segmenter's answer as it is stored; its mask is RLE."""
    if not mask.HasField("box") or not mask.mask.rle:
        return absent(object_id, mask.score)
    return TrackedObject(
        object_id,
        "",
        "",
        mask.score,
        ObjectState.CONFIRMED,
        MaskOrigin.FOLLOWED,
        wire.box_from_message(mask.box),
        mask.mask.rle,
        mask.area_px,
    )


def absent(object_id: int, score: float = 0.0) -> TrackedObject:
    """An object that is known not to be there."""
    return TrackedObject(object_id, "", "", score, ObjectState.LOST, MaskOrigin.FOLLOWED)


def mask_prompt(object_id: int, rle: bytes, size: Size) -> segmenter_pb2.ObjectPrompt:
    """An object where it is known to be."""
    return segmenter_pb2.ObjectPrompt(object_id=object_id, mask=_rle_mask(rle, size))


def _rle_mask(rle: bytes, size: Size) -> media_pb2.Mask:
    height, width = size
    return media_pb2.Mask(width=width, height=height, rle=rle)
