"""Pictures out of videos. Blocking; for a thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from kinemask import images
from kinemask.video import FrameIndex, IndexedReader, VideoError, VideoFrame
from kinemask.wire import RgbImage
from kinemask_chassis import errors

THUMBNAIL_SIDE_PX = 1024
"""What is stored; smaller ones are made of it."""
_THUMBNAIL_QUALITY = 85
_CANDIDATE_SHARES = (0.1, 0.35, 0.6)


@dataclass(frozen=True)
class Picture:
    """An encoded picture."""

    encoded: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Thumbnail:
    """A picture that stands for a video."""

    jpeg: bytes
    frame_index: int


def thumbnail_of(path: Path, index: FrameIndex, max_pixels: int) -> Thumbnail:
    """The liveliest of a few frames: black ones and fades have little contrast.

    Raises:
        ServiceError: INVALID_ARGUMENT, reason NO_FRAMES: none of them can be decoded.
    """
    reader = IndexedReader(path, index, max_pixels=max_pixels, prefetch_frames=0, conceal=True)
    numbers = dict.fromkeys([*(int(s * index.frame_count) for s in _CANDIDATE_SHARES), 0])
    best, best_contrast = None, -1.0
    for number in numbers:
        try:
            image = smaller(reader.frame(number).image, THUMBNAIL_SIDE_PX)
        except VideoError:
            continue
        contrast = float(np.std(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
        if contrast > best_contrast:
            best, best_contrast = (
                Thumbnail(images.encode_jpeg(image, _THUMBNAIL_QUALITY), number),
                contrast,
            )
    if best is None:
        raise errors.invalid("upload_id", "not one frame can be decoded", reason="NO_FRAMES")
    return best


def read_frame(path: Path, index: FrameIndex, number: int, max_pixels: int) -> VideoFrame:
    """One frame.

    Raises:
        ServiceError: DATA_LOSS, reason FRAME_DAMAGED.
    """
    try:
        return IndexedReader(path, index, max_pixels=max_pixels, prefetch_frames=0).frame(number)
    except VideoError as error:
        raise errors.data_loss(str(error), reason="FRAME_DAMAGED") from error


def smaller(image: RgbImage, max_side_px: int) -> RgbImage:
    """`(H, W, 3)` uint8 RGB, shrunk until no side is longer; the same if none is, or for 0."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if not max_side_px or longest <= max_side_px:
        return image
    scale = max_side_px / longest
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def packed(image: RgbImage, max_side_px: int, jpeg_quality: int) -> Picture:
    """A picture shrunk and encoded: as a JPEG, or for a quality of 0 as a PNG."""
    shrunk = smaller(image, max_side_px)
    height, width = shrunk.shape[:2]
    if jpeg_quality:
        return Picture(images.encode_jpeg(shrunk, jpeg_quality), width, height)
    return Picture(images.encode_png(shrunk), width, height)


def smaller_jpeg(jpeg: bytes, max_side_px: int) -> Picture:
    """A thumbnail made smaller."""
    image = images.decode(jpeg)
    if max(image.shape[:2]) <= max_side_px:
        return Picture(jpeg, image.shape[1], image.shape[0])
    return packed(image, max_side_px, _THUMBNAIL_QUALITY)
