"""Masks as pictures: a PNG for each frame, in a zip."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_gateway.exporting.source import TrackSource
from kinemask_gateway.tracks.values import TrackedFrame

_MOST_IN_A_BYTE = 255
_MOST_IN_TWO = 65535


def write_png_masks(path: Path, source: TrackSource) -> None:
    """`NNNNNN.png` of one channel: a pixel's value is its object's id, 0 for none.

    8 bits, or 16 where an id is above 255. Where objects overlap, the better score is seen; of
    equal ones, the lower id.

    Raises:
        ValueError: an object's id is above 65535.
    """
    most = max(source.objects, default=0)
    if most > _MOST_IN_TWO:
        raise ValueError(f"expected object ids up to {_MOST_IN_TWO}, got {most}")
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if most <= _MOST_IN_A_BYTE else np.uint16
    # PNGs are compressed already.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for frame in source.frames():
            picture = id_picture(frame, source.height, source.width, dtype)
            ok, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            assert ok  # a plain picture in memory
            # A fixed date: the same tracks make the same file.
            entry = zipfile.ZipInfo(f"{frame.frame_index:06d}.png")
            archive.writestr(entry, encoded.tobytes())


def id_picture(
    frame: TrackedFrame, height: int, width: int, dtype: type[np.uint8] | type[np.uint16]
) -> NDArray[np.integer]:
    """`(height, width)` of ids."""
    picture: NDArray[np.integer] = np.zeros((height, width), dtype)
    for entry in sorted(frame.objects, key=lambda entry: (entry.score, -entry.object_id)):
        picture[entry.mask(height, width)] = entry.object_id
    return picture
