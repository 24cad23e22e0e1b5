"""From a container's display matrix to upright images."""

from typing import NamedTuple, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from kinemask.images import Image


class Orientation(NamedTuple):
    """What brings a stored frame upright: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise, 0, 90, 180 or 270; a mirrored picture counts by its columns."""
        if self.transpose:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_y else 0

    def apply(self, image: Image) -> Image:
        """`(H, W, 3)` stored to `(H, W, 3)` or `(W, H, 3)` upright; the same array if it is."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if not (self.mirror_x or self.mirror_y):
            return image
        code = -1 if self.mirror_x and self.mirror_y else 1 if self.mirror_x else 0
        return np.asarray(cv2.flip(image, code), np.uint8)


class Orientations:
    """The orientation of one file's frames, looked up once for each rotation there is.

    Not for every frame: PyAV ties a frame and its side data into a cycle, and decoded frames would
    lie about until the garbage collector comes.
    """

    def __init__(self) -> None:
        self._known: dict[int, Orientation] = {}

    def of(self, frame: av.VideoFrame) -> Orientation:
        """As `orientation_of`; a mirroring alone that changes midway is not noticed."""
        if frame.rotation not in self._known:
            self._known[frame.rotation] = orientation_of(frame)
        return self._known[frame.rotation]


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The display matrix of a frame, rounded to right angles; upright when there is none.

    The matrix is nine int32, and (x, y) shows at (a x + c y, b x + d y) with a, b, c, d its
    elements 0, 1, 3 and 4 (FFmpeg, libavutil/display.h).
    """
    entries = cast(SideDataContainer, frame.side_data)  # PyAV's stub names the element
    for entry in (entries[i] for i in range(len(entries))):
        if entry.type == Type.DISPLAYMATRIX:
            matrix = np.frombuffer(bytes(entry), np.int32)
            a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
            if abs(b) > abs(a):
                return Orientation(True, c < 0, b < 0)
            return Orientation(False, a < 0, d < 0)
    return Orientation()
