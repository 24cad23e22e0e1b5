"""One object carried from frame to frame: prior, classifier, fusion, clean-up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemask_segmenter.engines.flow.appearance import Appearance
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.motion import Motion
from kinemask_segmenter.engines.flow.pixels import Bytes, Floats, WorkFrame
from kinemask_segmenter.engines.flow.regularise import cut_reduced

Bools = NDArray[np.bool_]

_OPEN_ODDS = 1.5
"""A label whose log-odds stay beyond this all around needs no closer look."""


@dataclass(frozen=True)
class Window:
    """A rectangle of the working image, `x1` and `y1` one past the end. Never empty."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, mask: Bools, margin_px: int) -> Window | None:
        """The tight box of `mask` grown by `margin_px` and cut to the image; None if empty."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows) == 0:
            return None
        height, width = mask.shape
        return cls(
            max(0, int(columns[0]) - margin_px),
            max(0, int(rows[0]) - margin_px),
            min(width, int(columns[-1]) + 1 + margin_px),
            min(height, int(rows[-1]) + 1 + margin_px),
        )

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for indexing an image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass
class Belief:
    """Where an object is thought to be.

    Invariants: `level` is the probability as bytes for the whole working image, so that a restored
    state is exactly the saved one; it is all zero while the object is lost.
    """

    level: Bytes
    """`(h, w)` probability times 255."""
    area_px: float
    """Usual area, slowly adapted, working pixels."""
    last: Window
    """Where it was last seen."""
    missing: int = 0
    """Frames since it was last seen; 0 while it is followed."""
    score: float = 1.0


def sign_distance(mask: Bools) -> Floats:
    """`(h, w)` distance to the contour in pixels, positive inside."""
    inside = mask.astype(np.uint8)
    result: Floats = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 3
    )
    return result


def advance(
    belief: Belief, look: Appearance, frame: WorkFrame, motion: Motion, config: FlowConfig
) -> None:
    """Carry `belief` to `frame` in place; `look` is only read."""
    carried = np.asarray(
        cv2.remap(belief.level, motion.source_x, motion.source_y, cv2.INTER_LINEAR), np.uint8
    )
    expected = carried > 127
    window = Window.around(expected, config.search_px)
    if window is None or belief.missing:
        search(belief, look, frame, config)
        return
    at = window.slices
    distance = sign_distance(expected[at])
    prior = np.clip(distance / config.prior_softness_px, -config.prior_clip, config.prior_clip)
    prior *= np.float32(config.prior_weight)
    prior[distance < -config.search_px] = -20
    evidence = _evidence(look, frame, window, prior, config)
    odds = (prior + evidence).astype(np.float32, copy=False)
    mask = _touching(cut_reduced(odds, frame.lab[at], config.cut_step), expected[at])
    _settle(belief, window, mask, odds, evidence, expected[at], config)


def _evidence(
    look: Appearance, frame: WorkFrame, window: Window, prior: Floats, config: FlowConfig
) -> Floats:
    """The classifier's log-odds in the window: coarse first, then exact where it is undecided."""
    height, width = prior.shape
    rows, columns = np.mgrid[0:height:2, 0:width:2]
    open_here = prior[::2, ::2] > -20
    coarse = np.full(rows.shape, -config.colour_clip, np.float32)
    coarse[open_here] = look.log_odds(
        frame, rows[open_here] + window.y0, columns[open_here] + window.x0
    )
    np.clip(coarse, -config.colour_clip, config.colour_clip, out=coarse)
    full = np.repeat(np.repeat(coarse, 2, 0), 2, 1)[:height, :width]
    ys, xs = np.nonzero(_undecided(coarse, prior))
    if len(ys):
        exact = look.log_odds(frame, ys + window.y0, xs + window.x0)
        full[ys, xs] = np.clip(exact, -config.colour_clip, config.colour_clip)
    return full


def _undecided(coarse: Floats, prior: Floats) -> Bools:
    """Pixels whose label may change with the exact evidence of their neighbourhood."""
    height, width = prior.shape
    kernel = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(coarse, kernel), cv2.dilate(coarse, kernel)

    thin = prior[::2, ::2]
    mixed = (low + thin < _OPEN_ODDS) & (high + thin > -_OPEN_ODDS)
    full: Bools = np.repeat(np.repeat(mixed, 2, 0), 2, 1)[:height, :width]
    return full


def _touching(mask: Bools, expected: Bools) -> Bools:
    """Drop parts of `mask` that nothing of the expected mask reaches."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    keep = np.zeros(count, np.bool_)
    keep[np.unique(parts[expected & mask])] = True
    keep[0] = False
    result: Bools = keep[parts]
    return result


def _settle(
    belief: Belief,
    window: Window,
    mask: Bools,
    odds: Floats,
    evidence: Floats,
    expected: Bools,
    config: FlowConfig,
) -> None:
    """Write the new state, or mark the object as missing."""
    area = int(mask.sum())
    agreement = float((evidence[mask] > 0).mean()) if area else 0.0
    if area < max(1.0, config.lost_area_fraction * belief.area_px) or agreement < 0.3:
        belief.level = np.zeros_like(belief.level)
        belief.missing, belief.score = 1, 0.0
        return
    # The cut decides the side; the log-odds only say how sure, so edges stay soft.
    signed = np.where(mask, np.clip(odds, 0.5, 4), np.clip(odds, -4, -0.5))
    probability = 1 / (1 + np.exp(-signed))
    belief.level = np.zeros_like(belief.level)
    belief.level[window.slices] = np.rint(probability * 255).astype(np.uint8)
    overlap = float((mask & expected).sum()) / float((mask | expected).sum())
    belief.score = round(agreement * overlap**0.5, 4)
    belief.area_px += 0.1 * (area - belief.area_px)
    seen = Window.around(belief.level > 127, 0)
    belief.last = seen or belief.last
    belief.missing = 0


def search(belief: Belief, look: Appearance, frame: WorkFrame, config: FlowConfig) -> None:
    """Look for a lost object around where it left, further away the longer it is gone."""
    belief.missing += 1
    belief.level = np.zeros_like(belief.level)
    belief.score = 0.0
    place = belief.last
    width, height = place.x1 - place.x0, place.y1 - place.y0
    grow = 0.5 + config.search_growth * min(belief.missing, 60)
    full_height, full_width = frame.shape
    window = Window(
        max(0, int(place.x0 - grow * width)),
        max(0, int(place.y0 - grow * height)),
        min(full_width, int(place.x1 + grow * width) + 1),
        min(full_height, int(place.y1 + grow * height) + 1),
    )
    step = max(2, int((width * height) ** 0.5) // 24)
    rows, columns = np.mgrid[window.y0 : window.y1 : step, window.x0 : window.x1 : step]
    odds = look.log_odds(frame, rows.ravel(), columns.ravel()).reshape(rows.shape)
    found = _best_blob(odds, width / step, height / step, belief.area_px / step**2, config)
    if found is None:
        return
    large = cv2.resize(
        found.astype(np.float32),
        (window.x1 - window.x0, window.y1 - window.y0),
        interpolation=cv2.INTER_LINEAR,
    )
    belief.level[window.slices] = np.rint(large * 255).astype(np.uint8)
    seen = Window.around(belief.level > 127, 0)
    if seen is None:
        belief.level = np.zeros_like(belief.level)
        return
    belief.last, belief.missing, belief.score = seen, 0, 0.5


def _best_blob(
    odds: Floats, width: float, height: float, area: float, config: FlowConfig
) -> Bools | None:
    """The connected region that looks most like the object, if enough of it does."""
    probability = 1 / (1 + np.exp(-np.clip(odds, -4, 4)))
    mask = (cv2.blur(probability, (3, 3)) > 0.6).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    size = float(stats[best, cv2.CC_STAT_AREA])
    box = float(stats[best, cv2.CC_STAT_WIDTH] * stats[best, cv2.CC_STAT_HEIGHT])
    # A region far larger than the object was is background that shares its colours.
    if size < config.found_fraction * area or box > 4 * max(1.0, width * height):
        return None
    result: Bools = parts == best
    return result
