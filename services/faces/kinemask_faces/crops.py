"""Faces cut out to be kept: upright, with room around them, whatever model embeds them later."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from kinemask import images

from kinemask_faces.engines.base import Image, Landmarks
from kinemask_faces.engines.geometry import (
    ARCFACE_SIDE_PX,
    ARCFACE_TEMPLATE_XY,
    cut_upright,
    similarity,
)

CROP_SIDE_PX = 256
JPEG_QUALITY = 95
# The face as ArcFace cuts it fills this share of the crop: dlib's cut is wider than ArcFace's, and
# a template that differs must not reach beyond the border.
_FACE_SHARE = 0.6
_SCALE = CROP_SIDE_PX * _FACE_SHARE / ARCFACE_SIDE_PX
_TEMPLATE_XY = ARCFACE_TEMPLATE_XY * _SCALE + CROP_SIDE_PX * (1 - _FACE_SHARE) / 2


@dataclass(frozen=True)
class FaceCrop:
    """One face, cut out."""

    jpeg: bytes
    """A square of `CROP_SIDE_PX`."""
    landmarks_xy: Landmarks
    """`(5, 2)` float32, in pixels of the crop."""


def cut_crop(image: Image, landmarks_xy: Landmarks) -> FaceCrop:
    """The crop of a face in `(H, W, 3)` uint8 RGB. Blocking; any thread.

    Raises:
        ValueError: the landmarks are all one point.
    """
    matrix = similarity(landmarks_xy.astype(np.float64), _TEMPLATE_XY)
    inside = landmarks_xy @ matrix[:, :2].T + matrix[:, 2]
    picture = cut_upright(image, landmarks_xy, _TEMPLATE_XY, CROP_SIDE_PX)
    return FaceCrop(images.encode_jpeg(picture, JPEG_QUALITY), inside.astype(np.float32))


def read_crop(jpeg: bytes) -> Image:
    """The crop's pixels: `(CROP_SIDE_PX, CROP_SIDE_PX, 3)` uint8 RGB. Blocking; any thread.

    Raises:
        ImageError: it is no picture.
    """
    return images.decode(jpeg)


def difference_hash(crop: Image) -> int:
    """64 bits that hardly change when a picture is encoded again: dHash (Krawetz 2013).

    Tells the very same picture of a face from another picture of the same person.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
