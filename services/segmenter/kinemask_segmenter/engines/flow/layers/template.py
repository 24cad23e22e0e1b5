"""What an object looked like, and its outline, before anything touched it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.follow import Bools, Window, sign_distance
from kinemask_segmenter.engines.flow.layers.pose import Pose, to_patch
from kinemask_segmenter.engines.flow.pixels import Bytes, Floats

MARGIN_PX = 16
"""How far a template reaches beyond its object's mask; `_NEAR_PX` must lie well within."""
OUTSIDE_PX = -30.0
"""Signed distance to the outline that stands for far outside."""
_NEAR_PX = 8.0
"""The true outline is looked for so far from the mask's."""
_DEEP_PX, _OFF_PX = 3.0, -6.0
"""Signed distances beyond which a pixel surely is the object's, or is not."""
_FEWEST_FRAMES = 4
_SLOWEST = 0.1
_MOST_ODDS = 6.0
_REFRESH = 0.05
_FIRST_SPREAD = 25.0
_SAME_PLACE = 0.5
_HELD_SHARE = 0.95
"""Of an object, that its patch has to hold: one that comes into the frame grows."""
_POSE_VARIANCE = 0.06
"""In square pixels: where lightness is steep, a pose that errs by so much makes it restless."""
_STEEP_PX = 1.5
"""That is allowed for so far inside the mask; nearer its contour steepness is the contour's own."""
_MOST_CHANGE = 12.0
"""Median difference of lightness above which a template has lost its object."""
_STALE_PX = 9
"""Around whatever hid it on the last frame an object's pixels are not looked at on the next."""
_BEYOND = -1000.0


@dataclass
class Template:
    """A picture that moves as a whole.

    Invariants: all arrays have the patch's size; while `edge` is not None the object is touched,
    and only `mean` changes, where the object is in sight.
    """

    corner_xy: tuple[int, int]
    """The patch's first pixel on the frame it was begun on."""
    mean: Floats
    """`(h, w, 3)` Lab, 0..255."""
    spread: Floats
    """`(h, w)` variance of the lightness over the frames gathered."""
    inside: Floats
    """`(h, w)` how often the mask held the pixel: 0..1."""
    hidden: Floats
    """`(h, w)` 1 where another object lay over it on the last frame, else 0."""
    pose: Pose = field(default_factory=Pose)
    pace: Pose = field(default_factory=Pose)
    """How it moved lately: pixels a frame; growth and turn are left out."""
    frames: int = 1
    strange_frames: int = 0
    """Frames in a row on which it explained too little of what it should show."""
    edge: Floats | None = None
    """`(h, w)` signed distance to the outline, positive inside; None while nothing touches it."""
    shown: bool = False
    """Whether it was begun by a prompt, perhaps while others touched its object."""

    @classmethod
    def begin(cls, lab: Bytes, mask: Bools) -> Template | None:
        """From one frame `(H, W, 3)` and the object's mask; None if that is empty."""
        window = Window.around(mask, MARGIN_PX)
        if window is None:
            return None
        inside = mask[window.slices].astype(np.float32)
        return cls(
            (window.x0, window.y0),
            lab[window.slices].astype(np.float32),
            np.full(inside.shape, _FIRST_SPREAD, np.float32),
            inside,
            np.zeros(inside.shape, np.float32),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the patch."""
        return self.inside.shape[1], self.inside.shape[0]

    def matrix(self, window: Window | None = None) -> NDArray[np.float64]:
        """`(2, 3)`: from the patch's pixels to the frame's, or to those of a window of it."""
        return self.pose.matrix(self.corner_xy, self.size, window)

    def gather(self, lab: Bytes, mask: Bools) -> bool:
        """Take in a frame `(H, W, 3)` on which nothing touches the object.

        Returns:
            Whether that was it: False, and nothing is changed, where its mask `(H, W)` is
            elsewhere or reaches beyond the patch, or it looks unlike itself.
        """
        matrix, inside = self.matrix(), self.inside > 0.5
        found = to_patch(mask.astype(np.float32), matrix, self.size, 0)
        union = np.maximum(found, self.inside).sum()
        if np.minimum(found, self.inside).sum() < _SAME_PLACE * union:
            return False
        if found.sum() * self.pose.area < _HELD_SHARE * np.count_nonzero(mask):
            return False
        shown = to_patch(lab.astype(np.float32), matrix, self.size, _BEYOND)
        shown = np.where(shown < 0, self.mean, shown)
        if float(np.median(np.abs(shown - self.mean)[inside, 0])) > _MOST_CHANGE:
            return False
        self._take(shown, found)
        return True

    def _take(self, shown: Floats, found: Floats) -> None:
        self.frames += 1
        rate = np.float32(max(1 / self.frames, _SLOWEST))
        change = shown - self.mean
        self.mean += rate * change
        self.spread += rate * ((1 - rate) * change[..., 0] ** 2 - self.spread)
        self.inside += rate * (found - self.inside)

    def see(self, frame: Floats, window: Window, own: Bools, others: Bools) -> None:
        """Note what of a held template is in sight, and follow its slow change there.

        Args:
            frame: `(h, w, 3)` Lab of the window.
            own: `(h, w)` the object's pixels in it.
            others: `(h, w)` pixels of those that touch it.
        """
        matrix = self.matrix(window)
        beside = cv2.dilate(others.astype(np.float32), np.ones((_STALE_PX, _STALE_PX)))
        self.hidden = to_patch(np.asarray(beside, np.float32), matrix, self.size, 0)
        in_sight = to_patch(own.astype(np.float32), matrix, self.size, 0) > 0.99
        shown = to_patch(frame, matrix, self.size, 0)
        self.mean[in_sight] += np.float32(_REFRESH) * (shown - self.mean)[in_sight]

    def hold(self) -> None:
        """Something touches it: from now on it keeps its outline."""
        if self.edge is None:
            self.edge = _outline(self)

    def let_go(self) -> None:
        """Nothing touches it any more."""
        if self.edge is not None:
            self.edge, self.hidden = None, np.zeros_like(self.hidden)
        self.shown = False

    @property
    def noise(self) -> float:
        """Usual variance of the object's own lightness, at least 4."""
        return max(4.0, float(np.median(self.spread[self.inside > 0.5])))


def _outline(template: Template) -> Floats:
    """Signed distance to the outline: where the mask was, corrected by what moved along with it.

    What belongs to the object stays the same in the template while the rest passes by behind it;
    masks err by some pixels, this tells them apart to one. Only lightness is asked, because video
    smears colour over neighbouring pixels.
    """
    distance = sign_distance(template.inside > 0.5)
    odds = np.clip(distance / 2, -4, 4)
    steady = _steadiness(template, distance)
    if steady is not None:
        odds += np.where(np.abs(distance) < _NEAR_PX, steady, 0)
    return sign_distance(_largest_part(odds > 0))


def _steadiness(template: Template, distance: Floats) -> Floats | None:
    """`(h, w)` log-odds that a pixel moves along; None where the surroundings do not tell."""
    across, along = slopes(template.mean)
    steep = np.where(distance > _STEEP_PX, across**2 + along**2, 0)
    restless = np.log((template.spread + 1) / (1 + _POSE_VARIANCE * steep))
    own, other = restless[distance > _DEEP_PX], restless[distance < _OFF_PX]
    if template.frames < _FEWEST_FRAMES or len(own) < 20 or len(other) < 20:
        return None
    (at, wide), (away, loose) = _location(own), _location(other)
    if away < at + wide + loose:
        return None
    odds = ((restless - away) / loose) ** 2 / 2 - ((restless - at) / wide) ** 2 / 2
    odds += np.log(loose / wide)
    odds = np.where(restless < at, np.maximum(odds, 0), odds)
    clipped = np.clip(odds, -_MOST_ODDS, _MOST_ODDS).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(clipped, (0, 0), 0.5), np.float32)


def slopes(mean: Floats) -> tuple[Floats, Floats]:
    """How the lightness changes with x and with y: `(h, w)` each, per pixel."""
    lightness = np.ascontiguousarray(mean[..., 0])
    across = cv2.Sobel(lightness, cv2.CV_32F, 1, 0, scale=1 / 8)
    along = cv2.Sobel(lightness, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(across, np.float32), np.asarray(along, np.float32)


def _location(values: Floats) -> tuple[float, float]:
    """Median, and a deviation that few outliers do not change; at least 0.3."""
    middle = float(np.median(values))
    return middle, 1.48 * float(np.median(np.abs(values - middle))) + 0.3


def _largest_part(mask: Bools) -> Bools:
    """Without islands and holes."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    part = (parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(part, outlines, -1, 1, cv2.FILLED)
    filled: Bools = part > 0
    return filled
