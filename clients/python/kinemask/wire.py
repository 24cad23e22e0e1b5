"""Between the API's messages and plain values: pictures, boxes, masks.

Services and clients share these. Pictures are `(H, W, 3)` uint8 RGB, masks `(H, W)` bool, boxes
`(x_min, y_min, x_max, y_max)` in pixels of the original frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinemask import images, masks
from kinemask.v1 import media_pb2

BoxXyxy = tuple[float, float, float, float]
RgbImage = NDArray[np.uint8]
BoolMask = NDArray[np.bool_]

_RAW_FORMATS: dict[int, images.PixelFormat] = {
    media_pb2.PIXEL_FORMAT_RGB24: "RGB24",
    media_pb2.PIXEL_FORMAT_BGR24: "BGR24",
    media_pb2.PIXEL_FORMAT_GRAY8: "GRAY8",
    media_pb2.PIXEL_FORMAT_RGBA32: "RGBA32",
    media_pb2.PIXEL_FORMAT_NV12: "NV12",
    media_pb2.PIXEL_FORMAT_I420: "I420",
}


def image_to_message(image: bytes | RgbImage, jpeg_quality: int | None = 90) -> media_pb2.Image:
    """A picture as a message.

    Bytes are taken for an encoded file and travel as they are. An array is encoded as a JPEG of
    `jpeg_quality`, or travels raw if that is None.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return media_pb2.Image(encoded=bytes(image))
    if jpeg_quality is not None:
        return media_pb2.Image(encoded=images.encode_jpeg(image, jpeg_quality))
    height, width = image.shape[:2]
    raw = media_pb2.RawImage(
        data=np.ascontiguousarray(image).tobytes(),
        width=width,
        height=height,
        format=media_pb2.PIXEL_FORMAT_RGB24,
    )
    return media_pb2.Image(raw=raw)


def image_from_message(
    message: media_pb2.Image, max_pixels: int = images.DEFAULT_MAX_PIXELS
) -> RgbImage:
    """The picture, upright. The pixel count is checked before anything is decoded.

    Raises:
        ImageTooLargeError: more than `max_pixels`.
        ImageDecodeError: not a picture, or a damaged one.
        ValueError: raw pixels whose size does not fit their format.
    """
    if message.WhichOneof("source") != "raw":
        return images.decode(message.encoded, max_pixels)
    raw = message.raw
    if raw.width * raw.height > max_pixels:
        raise images.ImageTooLargeError(raw.width, raw.height, max_pixels)
    return images.from_raw(raw.data, raw.height, raw.width, _RAW_FORMATS[raw.format])


def image_size(message: media_pb2.Image) -> tuple[int, int]:
    """`(height, width)` of the upright picture, from its header alone.

    Raises:
        ImageDecodeError: not a picture.
    """
    if message.WhichOneof("source") == "raw":
        return message.raw.height, message.raw.width
    info = images.probe(message.encoded)
    return info.height, info.width


def box_to_message(box_xyxy: BoxXyxy) -> media_pb2.Box:
    x_min, y_min, x_max, y_max = (float(edge) for edge in box_xyxy)
    return media_pb2.Box(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)


def box_from_message(message: media_pb2.Box) -> BoxXyxy:
    return (message.x_min, message.y_min, message.x_max, message.y_max)


def mask_to_message(
    mask: BoolMask,
    encoding: media_pb2.MaskEncoding.ValueType = media_pb2.MASK_ENCODING_RLE,
    box_xyxy: BoxXyxy | None = None,
) -> media_pb2.Mask | None:
    """A mask as a message, or None under MASK_ENCODING_NONE.

    A known tight box saves looking at the rest of the mask.
    """
    height, width = mask.shape
    if encoding == media_pb2.MASK_ENCODING_NONE:
        return None
    if encoding == media_pb2.MASK_ENCODING_PNG:
        return media_pb2.Mask(width=width, height=height, png=masks.encode_png_mask(mask))
    if encoding == media_pb2.MASK_ENCODING_BITS:
        return media_pb2.Mask(width=width, height=height, bits=masks.encode_packed(mask))
    return media_pb2.Mask(width=width, height=height, rle=masks.encode_rle(mask, box_xyxy))


def mask_from_message(message: media_pb2.Mask) -> BoolMask:
    """The mask's pixels.

    Raises:
        ValueError: data that does not fit the size it names.
    """
    kind = message.WhichOneof("data")
    if kind == "png":
        return masks.decode_png_mask(message.png, message.height, message.width)
    if kind == "bits":
        return masks.decode_packed(message.bits, message.height, message.width)
    return masks.decode_rle(message.rle, message.height, message.width)
