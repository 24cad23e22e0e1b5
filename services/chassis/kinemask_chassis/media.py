"""Pictures, boxes and masks of requests, with errors that name the field."""

from __future__ import annotations

import math

from kinemask import images, wire
from kinemask.v1 import media_pb2

from kinemask_chassis import errors


def decode_image(message: media_pb2.Image, max_pixels: int, field: str = "image") -> wire.RgbImage:
    """The picture as `(H, W, 3)` uint8 RGB, upright. Blocking; any thread.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason IMAGE_TOO_LARGE or IMAGE_UNDECODABLE.
    """
    try:
        return wire.image_from_message(message, max_pixels)
    except images.ImageTooLargeError as error:
        raise errors.invalid(field, str(error), reason="IMAGE_TOO_LARGE") from error
    except (images.ImageError, ValueError) as error:
        raise errors.invalid(field, str(error), reason="IMAGE_UNDECODABLE") from error


def check_box(message: media_pb2.Box, height: int, width: int, field: str = "box") -> wire.BoxXyxy:
    """The box, cut to the frame.

    Raises:
        ServiceError: INVALID_ARGUMENT: it is empty, upside down or wholly outside the frame.
    """
    x_min, y_min, x_max, y_max = wire.box_from_message(message)
    if not all(math.isfinite(edge) for edge in (x_min, y_min, x_max, y_max)):
        raise errors.invalid(field, "expected finite edges, found NaN or infinity")
    if x_max <= x_min or y_max <= y_min:
        raise errors.invalid(
            field,
            f"expected x_min < x_max and y_min < y_max, found "
            f"({x_min:g}, {y_min:g}, {x_max:g}, {y_max:g})",
        )
    if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
        raise errors.invalid(
            field,
            f"expected a box inside the {width}x{height} frame, found "
            f"({x_min:g}, {y_min:g}, {x_max:g}, {y_max:g})",
            reason="OUTSIDE_FRAME",
        )
    return max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height))


def check_point(
    message: media_pb2.Point, height: int, width: int, field: str = "point"
) -> tuple[float, float]:
    """The point's x and y.

    Raises:
        ServiceError: INVALID_ARGUMENT: it lies outside the frame.
    """
    if not (0 <= message.x < width and 0 <= message.y < height):
        raise errors.invalid(
            field,
            f"expected a point inside the {width}x{height} frame, found "
            f"({message.x:g}, {message.y:g})",
            reason="OUTSIDE_FRAME",
        )
    return message.x, message.y


def decode_mask(
    message: media_pb2.Mask, height: int, width: int, field: str = "mask"
) -> wire.BoolMask:
    """The mask as `(H, W)` bool. Blocking; any thread.

    Raises:
        ServiceError: INVALID_ARGUMENT: another size than the frame's, or damaged data.
    """
    if (message.height, message.width) != (height, width):
        raise errors.invalid(
            field,
            f"expected a mask of {width}x{height}, found {message.width}x{message.height}",
            reason="MASK_SIZE",
        )
    try:
        return wire.mask_from_message(message)
    except ValueError as error:
        raise errors.invalid(field, str(error), reason="MASK_UNDECODABLE") from error
