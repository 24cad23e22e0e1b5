"""Which of the objects that touch a pixel belongs to.

Every object claims a pixel with log-odds: from its moved outline where its moved picture explains
the pixel, from what is believed of it otherwise. The pixel goes to whom it costs least: how badly
the picture explains it, less those odds.

What is decided where the evidence leaves doubt, which it does on a line of about one pixel along
the outline of whoever is in front: inside its outline the front has it, outside of it the one
behind. The outline was found while nothing touched it, so it is better than anything seen now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kinemask_segmenter.engines.flow.follow import Bools
from kinemask_segmenter.engines.flow.layers.template import OUTSIDE_PX
from kinemask_segmenter.engines.flow.pixels import Bytes, Floats

EXPLAINED = 4.0
"""Misfit below which a picture explains a pixel."""
MOST = 12.0
"""Largest misfit: that of a pixel which the picture says nothing of."""
_CAP = 900.0
_UNIT = 60.0
"""Squared difference, in steps of 8-bit Lab, that is one unit of misfit in quiet video."""
_NOISE_UNIT = 15.0
"""The same, as a multiple of the picture's own variance."""
_COLOUR_WEIGHT = 0.25
"""Little: video has colour at half the size, so a pixel's is partly that of its neighbours."""
_SMOOTH_PX = 0.4
"""Little: more rounds off the very line that is looked for. 0.8 costs 20 times the pixels."""
_MOST_ODDS = 3.0
_EDGE_SLOPE = 1.0
"""Log-odds of one pixel's distance from the outline."""
_FRONT_BONUS = 3.0
_REACH_PX = 3.0
"""How far outside its outline a layer may still claim a pixel."""
_INSIDE_PX = 2.0
_FEWEST_PIXELS = 20
_SURE_PIXELS = 200.0


@dataclass(frozen=True)
class Claim:
    """One object's view of a window, all arrays `(h, w)`."""

    object_id: int
    edge: Floats
    """Signed distance to the moved outline; far outside everywhere for one without."""
    misfit: Floats
    """0..`MOST`: how badly the moved picture explains the frame."""
    belief: Bytes
    """The probability, times 255, that it was followed with."""

    @classmethod
    def without_picture(cls, object_id: int, belief: Bytes) -> Claim:
        """Of an object that no template is known of, or whose template explains nothing."""
        edge = np.full(belief.shape, OUTSIDE_PX, np.float32)
        return cls(object_id, edge, np.full(belief.shape, MOST, np.float32), belief)

    @property
    def pictured(self) -> bool:
        """Whether it has a picture that may be trusted."""
        return bool((self.edge > OUTSIDE_PX).any())

    @property
    def explained(self) -> Bools:
        return np.asarray(self.misfit < EXPLAINED)

    @property
    def odds(self) -> Floats:
        """Log-odds that the pixel is the object's, were it alone."""
        level = np.clip(self.belief.astype(np.float32), 1, 254)
        believed = np.log(level / (255 - level))
        odds = np.where(self.explained, np.float32(_EDGE_SLOPE) * self.edge, believed)
        return np.clip(odds, -_MOST_ODDS, _MOST_ODDS).astype(np.float32)


def misfit(frame: Floats, picture: Floats, noise: float) -> Floats:
    """`(h, w)`, 0..`MOST`, from two `(h, w, 3)` in Lab; `noise` is the picture's own variance."""
    change = (frame - picture) ** 2
    square = change[..., 0] + np.float32(_COLOUR_WEIGHT) * (change[..., 1] + change[..., 2])
    smooth = cv2.GaussianBlur(np.minimum(square, np.float32(_CAP)), (0, 0), _SMOOTH_PX)
    unit = np.float32(max(_UNIT, _NOISE_UNIT * noise))
    return np.asarray(np.minimum(smooth / unit, np.float32(MOST)), np.float32)


def settle(claims: Sequence[Claim], depth: Mapping[int, int]) -> list[Bools]:
    """Each claim's own pixels, no two on one.

    Args:
        claims: at least one.
        depth: by object, how many of the others are known to lie behind it.
    """
    odds = [claim.odds for claim in claims]
    costs = np.stack(
        [
            _cost(claim, each, depth[claim.object_id])
            for claim, each in zip(claims, odds, strict=True)
        ]
    )
    winner = costs.argmin(0)
    wanted = np.any([each > 0 for each in odds], axis=0) & np.isfinite(costs.min(0))
    return [np.asarray((winner == rank) & wanted) for rank in range(len(claims))]


def _cost(claim: Claim, odds: Floats, depth: int) -> Floats:
    cost = claim.misfit - odds
    cost -= np.where(claim.edge > 0, np.float32(_FRONT_BONUS * depth), np.float32(0))
    possible = (claim.edge > -_REACH_PX) | _connected(claim.belief > 127, claim)
    return np.where(possible, cost, np.float32(np.inf)).astype(np.float32)


def _connected(believed: Bools, claim: Claim) -> Bools:
    """Of what is believed, the parts that meet the outline: a picture moves as a whole."""
    if not claim.pictured:
        return believed
    count, parts = cv2.connectedComponents(believed.astype(np.uint8), connectivity=8)
    meets = np.zeros(count, np.bool_)
    meets[np.unique(parts[believed & (claim.edge > 0)])] = True
    return np.asarray(meets[parts])


def evidence_of_depth(one: Claim, other: Claim) -> float:
    """Above 0 if `one` is in front of `other`, below if behind; 0 if nothing is seen of it: -3..3.

    Asked are pixels inside both outlines that one of the two explains.
    """
    both = (one.edge > _INSIDE_PX) & (other.edge > _INSIDE_PX) & (one.explained | other.explained)
    count = int(np.count_nonzero(both))
    if count < _FEWEST_PIXELS:
        return 0.0
    better = np.clip(other.misfit[both] - one.misfit[both], -3, 3)
    return float(better.mean()) * min(1.0, count / _SURE_PIXELS)
