"""Where one shot ends and another begins.

Two frames of one shot look alike when both are shrunk to a thumbnail, even if the camera moves
fast; frames of two shots do not. Measured on seven clips: over 0.7 correlation inside a shot,
under 0.35 at a cut.
"""

from __future__ import annotations

import cv2
import numpy as np
from kinemask import images, wire
from kinemask.v1 import media_pb2
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""`(18, 32, 3)` float32, 0..255."""

THUMBNAIL_SHAPE = (18, 32, 3)
_SIZE = (32, 18)
DEFAULT_CUT_THRESHOLD = 0.5
_FLAT_LEVEL = 8.0


def thumbnail(message: media_pb2.Image) -> Thumbnail | None:
    """The picture shrunk; None if it cannot be read. Blocking; any thread."""
    if message.WhichOneof("source") == "encoded":
        packed = np.frombuffer(message.encoded, np.uint8)
        # An eighth of the size: for a JPEG that skips most of the decoding.
        image = cv2.imdecode(packed, cv2.IMREAD_REDUCED_COLOR_8) if packed.size else None
    else:
        try:
            image = wire.image_from_message(message)
        except (images.ImageError, ValueError):
            image = None
    if image is None:
        return None
    return np.asarray(cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA), np.float32)


def is_cut(before: Thumbnail, after: Thumbnail, threshold: float = DEFAULT_CUT_THRESHOLD) -> bool:
    """True if the frames belong to different shots.

    They must be uncorrelated, and differ by a share of their own contrast: noise over a flat
    picture is uncorrelated too. `threshold`: 0..1, how different they must be.
    """
    a, b = before - before.mean(), after - after.mean()
    spread = float(np.linalg.norm(a) * np.linalg.norm(b))
    correlation = float(np.vdot(a, b)) / spread if spread > 0 else 0.0
    contrast = 0.5 * float(before.std() + after.std()) + _FLAT_LEVEL
    change = float(np.abs(before - after).mean()) / contrast
    return correlation < 1.0 - threshold and change > threshold
