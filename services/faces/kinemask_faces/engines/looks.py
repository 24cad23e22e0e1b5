"""Several looks at one picture, painted on the square canvas that a detector's graph takes.

A detector knows faces of some sizes: one that fills the frame is too large for it (SCRFD: from
about 40% of the frame) and one that the edge cuts is half a face. So a picture is looked at whole,
and again smaller with its edges repeated around it. The small looks share a canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_faces.engines.base import DetectedFace, Image
from kinemask_faces.engines.geometry import Floats, suppress

_MAX_IOU = 0.3
_MAX_INSIDE = 0.7


@dataclass(frozen=True)
class Look:
    """One look: where on the canvas, and how much of the picture's surroundings."""

    corner: float
    """Left and top of its square, as a share of the canvas's side."""
    share: float
    """Side of its square, as a share of the canvas's side."""
    padding: float
    """Of repeated edge on every side, as a share of the picture's shorter side."""
    least_score: float
    """The smaller the picture, the more looks like a face."""


WHOLE: tuple[Look, ...] = (Look(0.0, 1.0, 0.0, 0.0),)
SMALLER: tuple[Look, ...] = (Look(0.0, 0.66, 0.25, 0.0), Look(0.67, 0.33, 0.25, 0.6))
CANVASES = (WHOLE, SMALLER)


@dataclass(frozen=True)
class Placed:
    """Where a look put a picture on a canvas: `canvas_xy = picture_xy * scale + offset_px`."""

    look: Look
    scale: float
    offset_px: float
    """Of x and of y: looks lie on the diagonal."""
    area_xyxy: tuple[float, float, float, float]
    """What of the canvas it covers, padding included."""


@dataclass(frozen=True)
class Candidates:
    """What a graph found on one canvas, in canvas pixels."""

    boxes: Floats
    """`(N, 4)` xyxy."""
    scores: Floats
    """`(N,)` in 0..1."""
    landmarks: Floats
    """`(N, 5, 2)`."""

    def where(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Those that `kept`, `(N,)` bool or indices, selects."""
        return Candidates(self.boxes[kept], self.scores[kept], self.landmarks[kept])


def paint(image: Image, side_px: int, looks: Sequence[Look]) -> tuple[Image, list[Placed]]:
    """A `(side_px, side_px, 3)` canvas with the looks on it, the rest black, and where they are."""
    canvas = np.zeros((side_px, side_px, 3), np.uint8)
    return canvas, [_paint_one(canvas, image, look) for look in looks]


def _paint_one(canvas: Image, image: Image, look: Look) -> Placed:
    height, width = image.shape[:2]
    margin = look.padding * min(height, width)
    room = int(canvas.shape[0] * look.share)
    # A picture is not made larger: that shows nothing new, and small faces are known as they are.
    scale = min(room / (max(height, width) + 2 * margin), look.share)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    part = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    edge = int(margin * scale)
    if edge:
        part = np.asarray(
            cv2.copyMakeBorder(part, edge, edge, edge, edge, cv2.BORDER_REPLICATE), np.uint8
        )
    corner = int(canvas.shape[0] * look.corner)
    high, wide = (min(side, room) for side in part.shape[:2])
    canvas[corner : corner + high, corner : corner + wide] = part[:high, :wide]
    area = (corner, corner, corner + wide, corner + high)
    return Placed(look, scale, corner + edge, area)


def faces_of(
    found: Sequence[Candidates],
    placed: Sequence[Sequence[Placed]],
    image_hw: tuple[int, int],
    score_threshold: float,
) -> list[DetectedFace]:
    """The faces of one picture from what was found on its canvases, largest first."""
    looks = [
        _back(candidates, place, score_threshold)
        for candidates, places in zip(found, placed, strict=True)
        for place in places
    ]
    together = Candidates(
        np.concatenate([look.boxes for look in looks]),
        np.concatenate([look.scores for look in looks]),
        np.concatenate([look.landmarks for look in looks]),
    )
    together = together.where(suppress(together.boxes, together.scores, _MAX_IOU, _MAX_INSIDE))
    faces = [_face(together, index, image_hw) for index in range(len(together.scores))]
    seen = [face for face in faces if _area(face) >= 1.0]
    return sorted(seen, key=_area, reverse=True)


def _back(found: Candidates, place: Placed, score_threshold: float) -> Candidates:
    """Those that a look shows, in the picture's pixels."""
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    low, high = np.array(place.area_xyxy[:2]), np.array(place.area_xyxy[2:])
    good = found.scores >= max(score_threshold, place.look.least_score)
    # A strip of a picture gives boxes of infinite height.
    good &= np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2))
    shown = found.where(good & (middle >= low).all(axis=1) & (middle < high).all(axis=1))
    boxes = (shown.boxes - place.offset_px) / place.scale
    return Candidates(boxes, shown.scores, (shown.landmarks - place.offset_px) / place.scale)


def _face(found: Candidates, index: int, image_hw: tuple[int, int]) -> DetectedFace:
    height, width = image_hw
    x_min, y_min, x_max, y_max = np.clip(found.boxes[index], 0, [width, height, width, height])
    score = float(np.clip(found.scores[index], 0.0, 1.0))
    box = (float(x_min), float(y_min), float(x_max), float(y_max))
    return DetectedFace(box, score, found.landmarks[index].astype(np.float32))


def _area(face: DetectedFace) -> float:
    x_min, y_min, x_max, y_max = face.box_xyxy
    return (x_max - x_min) * (y_max - y_min)
