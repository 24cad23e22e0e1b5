"""Faces by Haar cascades: a coarse scan proposes, a dense look at each proposal decides.

The cascades are OpenCV's (Viola and Jones, "Rapid object detection using a boosted cascade of
simple features", CVPR 2001; Lienhart and Maydt, ICIP 2002). A single cascade window means little;
a true face is accepted again and again when the picture is shifted and scaled a little, and by
cascades trained on other data. So the scan keeps every single window, and each place it names is
cut out and searched densely by three cascades; how often each accepts is the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from kinemask_detector.engines.boxes import Floats, clusters, suppress

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class _Pass:
    """One cascade over the whole picture."""

    cascade: str
    min_size_px: int
    scale_step: float
    mirrored: bool = False


# The profile cascade knows faces that look to the left; the mirror image shows it the others.
_SCANS = (
    _Pass("frontalface_alt2", 28, 1.2),
    _Pass("profileface", 48, 1.2),
    _Pass("profileface", 48, 1.2, mirrored=True),
    _Pass("frontalface_default", 48, 1.25),
)
MIN_FACE_PX = min(scan.min_size_px for scan in _SCANS)
"""Side of the smallest face that the scan sees."""

_LOOKS = (
    _Pass("frontalface_alt2", 24, 1.06),
    _Pass("frontalface_alt", 24, 1.06),
    _Pass("profileface", 24, 1.06),
    _Pass("profileface", 24, 1.06, mirrored=True),
)
_LOOK_BOX_PX = 32
"""A proposal is looked at with its box at this size: 24..44 px are 3/4 to 11/8 of it."""
_LOOK_MAX_PX = 44
_LOOK_MARGIN = 0.85
"""Half the side of what is cut out, in box sides."""
_MAX_PROPOSALS = 24

# A cascade's square ends at brows and mouth corners. Measured against boxes that span forehead to
# chin: centre shift in x and y, width and height, all in sides of the square. A profile's square
# reaches from the nose to before the ear; it is shifted towards the nose by the mirror's sign.
_FRONTAL_SHAPE = (0.0, 0.01, 0.95, 1.25)
_PROFILE_SHAPE = (-0.07, 0.02, 0.9, 1.2)

# Logistic regression of "is a face" on log(1 + accepted windows) of alt2, alt and profile. Fitted
# on pictures and clips of several kinds, weights kept positive: more evidence, higher score.
_BIAS = -3.8
_WEIGHTS = np.array([0.8, 1.9, 3.1])
# A profile that fills much of the frame, often cut by its edge, passes few of the dense looks. The
# grouped windows of one plain scan over a padded picture find it where its own evidence is enough.
_LARGE_PROFILES = (_Pass("profileface", 0, 1.05), _Pass("profileface", 0, 1.05, mirrored=True))
_LARGE_SHARE = 0.28
"""Least side of a large profile, as a share of the picture's shorter side."""
_LARGE_PADDING = 1 / 6
_LARGE_NEIGHBOURS = 3
_HALF_SURE_NEIGHBOURS = 2.0
_MAX_IOU = 0.3
_MAX_INSIDE = 0.6


class FaceFinder:
    """Holds the cascades. Not thread-safe: OpenCV's classifiers keep state between calls."""

    def __init__(self) -> None:
        names = {one.cascade for one in (*_SCANS, *_LOOKS)}
        self._cascades = {name: _load(name) for name in names}

    def find(self, gray: Gray) -> tuple[Floats, Floats]:
        """Faces in an `(H, W)` uint8 picture that `levelled` made.

        Returns `(N, 4)` xyxy boxes from forehead to chin (they may reach over the edge) and `(N,)`
        scores in 0..1, best first, without a threshold: a caller drops the weak ones.
        """
        found = [self._look(gray, proposal) for proposal in self._proposals(gray)]
        found += [face for scan in _LARGE_PROFILES for face in self._large(gray, scan)]
        boxes = np.array([box for box, _ in found]).reshape(-1, 4)
        scores = np.array([score for _, score in found])
        kept = suppress(boxes, scores, _MAX_IOU, _MAX_INSIDE)
        return boxes[kept], scores[kept]

    def _proposals(self, gray: Gray) -> list[Floats]:
        """Squares where some cascade accepted at least one window; the best supported first."""
        windows = np.vstack([self._scan(gray, scan) for scan in _SCANS])
        groups = clusters(windows, 0.35)[:_MAX_PROPOSALS]
        return [windows[group].mean(axis=0) for group in groups]

    def _scan(self, gray: Gray, scan: _Pass) -> Floats:
        """Octave by octave, each on a picture shrunk so that its smallest face fills a window.

        OpenCV steps by one pixel at scales of 2 and up and by two below; shrunk pictures keep the
        step in proportion to the face, at a third of the cost.
        """
        window_px = self._cascades[scan.cascade].getOriginalWindowSize()[0]
        found = [np.zeros((0, 4))]
        smallest_px = scan.min_size_px
        while smallest_px <= min(gray.shape):
            shrink = window_px / smallest_px
            part = _resized(gray, shrink)
            windows = self._windows(part, scan, window_px, 2 * window_px - 1)
            found.append(windows * (gray.shape[1] / part.shape[1]))
            smallest_px *= 2
        return np.vstack(found)

    def _look(self, gray: Gray, square: Floats) -> tuple[Floats, float]:
        """The face's box at a proposed square, and how sure it is."""
        part, corner, shrink = _cut_out(gray, square)
        looks = [self._windows(part, look, look.min_size_px, _LOOK_MAX_PX) for look in _LOOKS]
        looks = [windows / shrink + np.tile(corner, 2) for windows in looks]
        return _shaped(looks, square), _score([len(windows) for windows in looks])

    def _large(self, gray: Gray, scan: _Pass) -> list[tuple[Floats, float]]:
        """Boxes and scores of profiles that fill much of the picture."""
        shorter = min(gray.shape)
        margin = round(shorter * _LARGE_PADDING)
        around = _u8(cv2.copyMakeBorder(gray, margin, margin, margin, margin, cv2.BORDER_REPLICATE))
        seen = np.ascontiguousarray(around[:, ::-1]) if scan.mirrored else around
        least = max(1, round(shorter * _LARGE_SHARE))
        squares, support = self._cascades[scan.cascade].detectMultiScale2(
            seen, scan.scale_step, _LARGE_NEIGHBOURS, 0, (least, least)
        )
        found = []
        for (x, y, side, _), neighbours in zip(squares, support, strict=True):
            left = around.shape[1] - x - side if scan.mirrored else x
            square = np.array([left, y, left + side, y + side], np.float64) - margin
            score = float(neighbours / (neighbours + _HALF_SURE_NEIGHBOURS))
            found.append((_reshaped(square, _profile_shape(not scan.mirrored)), score))
        return found

    def _windows(self, gray: Gray, one: _Pass, min_px: int, max_px: int) -> Floats:
        """Every window that the cascade accepts, `(N, 4)` xyxy."""
        seen = np.ascontiguousarray(gray[:, ::-1]) if one.mirrored else gray
        accepted = self._cascades[one.cascade].detectMultiScale(
            seen, one.scale_step, 0, 0, (min_px, min_px), (max_px, max_px)
        )
        boxes = np.array(accepted, np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        if one.mirrored:
            boxes[:, [0, 2]] = gray.shape[1] - boxes[:, [2, 0]]
        return boxes


def levelled(gray: Gray) -> Gray:
    """Dark pictures brightened and the noise taken off, `(H, W)` uint8.

    OpenCV's cascades skip windows whose standard deviation is under 10 grey levels, which a face in
    the dark has; noise only lets windows get further before they are rejected.
    """
    bright = float(np.percentile(gray[::4, ::4], 99))
    gain = min(3.0, max(1.0, 220.0 / max(bright, 1.0)))
    return _u8(cv2.GaussianBlur(cv2.convertScaleAbs(gray, alpha=gain), (3, 3), 0))


def _cut_out(gray: Gray, square: Floats) -> tuple[Gray, Floats, float]:
    """Around the square, edges repeated: the part, its corner in `gray`, and its scale."""
    height, width = gray.shape
    side = float(square[2] - square[0])
    centre = (square[:2] + square[2:]) / 2
    x_min, y_min = np.floor(centre - _LOOK_MARGIN * side).astype(int)
    span = int(2 * _LOOK_MARGIN * side)
    rows = np.clip(np.arange(y_min, y_min + span), 0, height - 1)
    columns = np.clip(np.arange(x_min, x_min + span), 0, width - 1)
    part = gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if part.shape != (span, span):
        part = gray[np.ix_(rows, columns)]
    shrink = _LOOK_BOX_PX / side
    resized = _resized(part, shrink)
    return resized, np.array([x_min, y_min], np.float64), resized.shape[0] / span


def _shaped(looks: list[Floats], square: Floats) -> Floats:
    """One box from forehead to chin, `(4,)`: of the windows that made the case."""
    *frontal, left, right = looks
    straight = np.vstack(frontal)
    sideways = left if len(left) >= len(right) else right
    if len(straight) >= len(sideways):
        windows, shape = straight, np.array(_FRONTAL_SHAPE)
    else:
        windows, shape = sideways, _profile_shape(sideways is left)
    return _reshaped(np.median(windows, axis=0) if len(windows) else square, shape)


def _profile_shape(looks_left: bool) -> Floats:
    """`_PROFILE_SHAPE`, shifted towards the nose."""
    return np.array(_PROFILE_SHAPE) * [1 if looks_left else -1, 1, 1, 1]


def _reshaped(square: Floats, shape: Floats) -> Floats:
    """A cascade's square `(4,)` as the face's box, by one of the shapes above."""
    side = square[2] - square[0]
    centre = (square[:2] + square[2:]) / 2 + side * shape[:2]
    half = side * shape[2:] / 2
    return np.concatenate([centre - half, centre + half])


def _score(counts: list[int]) -> float:
    """0..1 from how often each cascade accepted; more never makes it less."""
    *frontal, left, right = counts
    evidence = np.log1p(np.array([*frontal, left + right]))
    return float(1 / (1 + np.exp(-(_BIAS + evidence @ _WEIGHTS))))


def _resized(gray: Gray, scale: float) -> Gray:
    size = [max(1, round(side * scale)) for side in (gray.shape[1], gray.shape[0])]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return _u8(cv2.resize(gray, size, interpolation=how))


def _u8(image: object) -> Gray:
    return np.asarray(image, np.uint8)


def _load(name: str) -> cv2.CascadeClassifier:
    path = Path(cv2.data.haarcascades) / f"haarcascade_{name}.xml"
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise FileNotFoundError(f"expected OpenCV's cascade at {path}, found none")
    return cascade
