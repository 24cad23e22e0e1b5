"""Frames as YCbCr planes, upright, without a detour over RGB."""

from dataclasses import dataclass
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from kinemask.effects import Planes
from kinemask.video._color import LIMITED_RANGE
from kinemask.video._info import VideoInfo
from kinemask.video._orientation import Orientation

_Plane = npt.NDArray[np.uint8]

PIXEL_FORMAT: Final = "yuv420p"


@dataclass(frozen=True, slots=True, eq=False)
class PlanarFrame:
    """A frame to be drawn on and encoded."""

    index: int
    """In the file, from 0."""
    planes: Planes
    """Of the frame as it is shown; writing to them writes to the picture."""
    picture: av.VideoFrame
    """The same memory, in the next even size; `sealed` fills what was added."""
    damaged: bool
    """True if it decoded with errors."""

    def sealed(self) -> av.VideoFrame:
        """The picture for the encoder, an odd size's last column and row repeated."""
        height, width = self.planes.y.shape
        whole = _plane(self.picture, 0)
        whole[:height, width:] = whole[:height, width - 1 : width]
        whole[height:] = whole[height - 1 : height]
        return self.picture


def planar_frame(
    index: int,
    decoded: av.VideoFrame,
    info: VideoInfo,
    orientation: Orientation,
    into: PlanarFrame | None = None,
) -> PlanarFrame:
    """Bring a decoded frame upright, as a copy, in the memory of `into` if that is given.

    Samples are reduced to 8 bits and the limited range. Colours in a finer grid than 4:2:0 are
    averaged over blocks of 2 x 2 pixels: no pixel has a part in any block but its own.
    """
    stored = _eight_bit(decoded, info, orientation)
    y, u, v = (_plane(stored, number) for number in range(3))
    on_grid = stored.format.name == PIXEL_FORMAT and _keeps_grid(orientation, y.shape)
    turned = orientation.apply(y)
    height, width = turned.shape
    made = (into.picture, into.planes) if into else _blank(height, width, info.color.matrix)
    picture, planes = made
    planes.y[:] = turned
    for chroma, target in ((u, planes.u), (v, planes.v)):
        if on_grid:
            target[:] = orientation.apply(chroma)
        else:
            target[:] = _averaged(orientation.apply(_full_size(chroma, y.shape)))
    return PlanarFrame(index, planes, picture, bool(decoded.is_corrupt))


def black_frame(index: int, info: VideoInfo) -> PlanarFrame:
    """In the place of a frame that cannot be decoded at all."""
    picture, planes = _blank(info.height, info.width, info.color.matrix)
    for plane, level in ((planes.y, 16), (planes.u, 128), (planes.v, 128)):
        plane[:] = level
    return PlanarFrame(index, planes, picture, True)


def _blank(height: int, width: int, matrix: int) -> tuple[av.VideoFrame, Planes]:
    picture = av.VideoFrame(width + width % 2, height + height % 2, PIXEL_FORMAT)
    y, u, v = _views(picture)
    return picture, Planes(y[:height, :width], u, v, matrix)


def _views(picture: av.VideoFrame) -> tuple[_Plane, _Plane, _Plane]:
    y, u, v = (_plane(picture, number) for number in range(3))
    return y, u, v


def _plane(frame: av.VideoFrame, number: int) -> _Plane:
    """A plane of 8-bit samples as a view."""
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _eight_bit(frame: av.VideoFrame, info: VideoInfo, orientation: Orientation) -> av.VideoFrame:
    """8 bits, limited range, planes apart, in the grid of chroma that the frame has."""
    grid = frame.format.chroma_width(16), frame.format.chroma_height(16)
    name = {(8, 8): PIXEL_FORMAT, (8, 16): "yuv422p"}.get(grid, "yuv444p")
    # A stream may change its size midway; every picture keeps the first one's.
    size = (info.width, info.height)
    width, height = size[::-1] if orientation.transpose else size
    matrix = info.color.matrix
    return frame.reformat(
        width=width,
        height=height,
        format=name,
        # RGB has no matrix of its own to come from.
        src_colorspace=None if frame.format.is_rgb else matrix,
        dst_colorspace=matrix,
        dst_color_range=LIMITED_RANGE,
    )


def _keeps_grid(orientation: Orientation, stored: tuple[int, ...]) -> bool:
    """Whether blocks of 2 x 2 stay blocks: an odd side that is mirrored moves them by a pixel."""
    height, width = stored[::-1] if orientation.transpose else stored
    return not (width % 2 and orientation.mirror_x) and not (height % 2 and orientation.mirror_y)


def _full_size(chroma: _Plane, size: tuple[int, ...]) -> _Plane:
    """Every pixel with the sample of its block."""
    for axis in (0, 1):
        if chroma.shape[axis] != size[axis]:
            chroma = np.repeat(chroma, 2, axis=axis)
    return chroma[: size[0], : size[1]]


def _averaged(chroma: _Plane) -> _Plane:
    """`(H, W)` to `(ceil(H / 2), ceil(W / 2))`, the mean of each block."""
    height, width = chroma.shape
    border = (0, height % 2, 0, width % 2)
    even = cv2.copyMakeBorder(chroma, *border, cv2.BORDER_REPLICATE) if any(border) else chroma
    size = even.shape[1] // 2, even.shape[0] // 2
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
