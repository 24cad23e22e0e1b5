"""The templates of one stream: when they are gathered, moved, and asked who has a pixel."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from kinemask_segmenter.engines.flow.follow import Belief, Bools, Window, sign_distance
from kinemask_segmenter.engines.flow.layers import contest, nearness
from kinemask_segmenter.engines.flow.layers.alignment import follow
from kinemask_segmenter.engines.flow.layers.contest import Claim
from kinemask_segmenter.engines.flow.layers.nearness import Box, Pair
from kinemask_segmenter.engines.flow.layers.pose import to_window
from kinemask_segmenter.engines.flow.layers.template import OUTSIDE_PX, Template
from kinemask_segmenter.engines.flow.motion import Motion
from kinemask_segmenter.engines.flow.pixels import Bytes, Floats

_EXPLAINED_SHARE = 0.6
_FEWEST_PIXELS = 40
_PATIENCE = 20
"""Frames in a row that a template may fail to explain what should be in sight."""
_SURE_ORDER = 0.5
_MOST_ORDER = 10.0
_SOFT_ODDS = 4.0
_SAME_PLACE = 0.5
_MARGIN_PX = 8
_BEYOND = -1000.0


@dataclass
class Layers:
    """What is known of objects near each other.

    Invariants: `order` has an entry only for pairs of ids in `templates`, the smaller id first;
    above 0 the first is in front. Empty while no two objects are near each other, and then nothing
    here changes anything.
    """

    templates: dict[int, Template] = field(default_factory=dict)
    order: dict[Pair, float] = field(default_factory=dict)
    unsure: set[int] = field(default_factory=set)
    """Objects that touch another one on this frame, with nothing known of them from before."""

    def step(self, lab: Bytes, motion: Motion, beliefs: Mapping[int, Belief]) -> None:
        """Take the next frame `(H, W, 3)` in; rewrites the beliefs of objects that touch."""
        self.unsure = set()
        boxes = {key: box for key in beliefs if (box := self._box(key, beliefs[key])) is not None}
        near = sorted({key for pair in nearness.near_pairs(boxes) for key in pair})
        self._forget_all_but(near)
        if not near:
            return
        lightness = np.asarray(cv2.extractChannel(lab, 0), np.float32)
        touching = self._touching(boxes, beliefs)
        touched = {key for pair in touching for key in pair}
        for key in near:
            self._move(key, lab, lightness, motion, beliefs[key], key in touched)
        for group in nearness.groups(touching):
            self._contest(group, lab, beliefs, boxes)

    def holds(self, object_id: int, box_xyxy: Box) -> bool:
        """Whether an object that is touched is known to be where a box (working pixels) says.

        A box cannot tell two objects that touch apart as well as their layers do.
        """
        template = self.templates.get(object_id)
        if template is None or template.edge is None or template.strange_frames:
            return False
        return nearness.overlap(nearness.outline_box(template), box_xyxy) >= _SAME_PLACE

    def correct(self, object_id: int) -> None:
        """The user says where an object is: what was known of one that is touched goes."""
        template = self.templates.get(object_id)
        if template is not None and template.edge is not None:
            self.forget(object_id)
            self.unsure.add(object_id)

    def show(self, object_id: int, lab: Bytes, mask: Bools) -> None:
        """The user showed on the newest frame what an object of which nothing is known looks like.

        Its outline then may be wrong where others touch it: it stays unsure until they let go.
        What is cut off by the frame's border may be coming in: that tells no outline.
        """
        if object_id not in self.templates and not at_border(mask):
            self._begin(object_id, lab, mask)
            if object_id in self.templates:
                self.templates[object_id].shown = True

    def forget(self, object_id: int) -> None:
        """The object is gone, or another one now."""
        self._forget_all_but([key for key in self.templates if key != object_id])

    def _forget_all_but(self, kept: Sequence[int]) -> None:
        self.templates = {key: each for key, each in self.templates.items() if key in kept}
        self.order = {
            pair: side for pair, side in self.order.items() if set(pair) <= set(self.templates)
        }

    def _box(self, key: int, belief: Belief) -> Box | None:
        """Where an object is, hidden or not."""
        template = self.templates.get(key)
        if template is not None and template.edge is not None:
            return nearness.outline_box(template)
        last = belief.last
        return None if belief.missing else (last.x0, last.y0, last.x1, last.y1)

    def _touching(self, boxes: Mapping[int, Box], beliefs: Mapping[int, Belief]) -> list[Pair]:
        """Pairs whose boxes meet, and whose outlines do."""
        return [
            (one, other)
            for one, other in nearness.touching_pairs(boxes)
            if nearness.meet(self._outline(one, beliefs[one]), self._outline(other, beliefs[other]))
        ]

    def _outline(self, key: int, belief: Belief) -> Bools:
        """`(H, W)` where an object is, hidden or not."""
        template = self.templates.get(key)
        if template is None or template.edge is None:
            return belief.level > 127
        height, width = belief.level.shape
        return to_window(template.edge, template.matrix(), (width, height), OUTSIDE_PX) > 0

    def _move(
        self,
        key: int,
        lab: Bytes,
        lightness: Floats,
        motion: Motion,
        belief: Belief,
        touched: bool,
    ) -> None:
        """Bring one template to this frame; begin it if nothing touches its object."""
        template = self.templates.get(key)
        mask = belief.level > 127
        if template is None:
            if not touched:
                self._begin(key, lab, mask)
            return
        if touched:
            template.hold()
        else:
            template.let_go()
        shift = motion.usual_shift(mask)
        follow(template, lightness, None if touched else mask, shift)
        if not touched and not template.gather(lab, mask):
            self._begin(key, lab, mask)

    def _begin(self, key: int, lab: Bytes, mask: Bools) -> None:
        self.forget(key)
        begun = Template.begin(lab, mask)
        if begun is not None:
            self.templates[key] = begun

    def _contest(
        self,
        group: Sequence[int],
        lab: Bytes,
        beliefs: Mapping[int, Belief],
        boxes: Mapping[int, Box],
    ) -> None:
        """Give the pixels of objects that touch to one of them each."""
        places = [boxes[key] for key in group]
        now = [box for key in group if (box := self._box(key, beliefs[key])) is not None]
        window = nearness.window_around(places + now, lab.shape[0], lab.shape[1], _MARGIN_PX)
        if window is None:
            return
        frame = lab[window.slices].astype(np.float32)
        claims = [self._claim(key, frame, window, beliefs[key]) for key in group]
        claims = [self._trusted(claim, claims) for claim in claims]
        self.unsure |= {claim.object_id for claim in claims if self._doubtful(claim)}
        if not any(claim.pictured for claim in claims):
            return
        self._learn_order(claims)
        owned = contest.settle(claims, self._depths(claims))
        taken = np.any(owned, axis=0)
        for claim, own in zip(claims, owned, strict=True):
            _believe(beliefs[claim.object_id], window, own, claim)
            if claim.pictured:
                self.templates[claim.object_id].see(frame, window, own, taken & ~own)

    def _doubtful(self, claim: Claim) -> bool:
        return not claim.pictured or self.templates[claim.object_id].shown

    def _claim(self, key: int, frame: Floats, window: Window, belief: Belief) -> Claim:
        level = belief.level[window.slices]
        template = self.templates.get(key)
        if template is None or template.edge is None:
            return Claim.without_picture(key, level)
        size, matrix = (window.x1 - window.x0, window.y1 - window.y0), template.matrix(window)
        picture = to_window(template.mean, matrix, size, _BEYOND)
        edge = to_window(template.edge, matrix, size, OUTSIDE_PX)
        return Claim(key, edge, contest.misfit(frame, picture, template.noise), level)

    def _trusted(self, claim: Claim, claims: Sequence[Claim]) -> Claim:
        """The claim, without its picture if that explains too little of what is to be seen."""
        if not claim.pictured:
            return claim
        due = claim.edge > 2
        for other in claims:
            if other is not claim:
                due &= ~((other.edge > -2) & other.explained)
        template = self.templates[claim.object_id]
        count = int(np.count_nonzero(due))
        if count < _FEWEST_PIXELS or float(claim.explained[due].mean()) >= _EXPLAINED_SHARE:
            template.strange_frames = 0
            return claim
        template.strange_frames += 1
        if template.strange_frames > _PATIENCE:
            self.forget(claim.object_id)
        return Claim.without_picture(claim.object_id, claim.belief)

    def _learn_order(self, claims: Sequence[Claim]) -> None:
        pictured = [claim for claim in claims if claim.pictured]
        for one, other in itertools.combinations(pictured, 2):
            pair = one.object_id, other.object_id
            side = self.order.get(pair, 0.0) + contest.evidence_of_depth(one, other)
            self.order[pair] = min(max(side, -_MOST_ORDER), _MOST_ORDER)

    def _depths(self, claims: Sequence[Claim]) -> dict[int, int]:
        """By object, how many of the others are known to lie behind it."""
        depths = {claim.object_id: 0 for claim in claims}
        for (one, other), side in self.order.items():
            if abs(side) >= _SURE_ORDER and one in depths and other in depths:
                depths[one if side > 0 else other] += 1
        return depths


def at_border(mask: Bools) -> bool:
    """Whether a mask `(H, W)` reaches the frame's border."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _believe(belief: Belief, window: Window, own: Bools, claim: Claim) -> None:
    """Write what was settled; an object that is wholly hidden counts as missing."""
    belief.level = np.zeros_like(belief.level)
    if not own.any():
        belief.missing, belief.score = max(belief.missing, 1), 0.0
        return
    soft = np.clip(sign_distance(own), -_SOFT_ODDS, _SOFT_ODDS)
    belief.level[window.slices] = np.rint(255 / (1 + np.exp(-soft))).astype(np.uint8)
    belief.last = Window.around(belief.level > 127, 0) or belief.last
    belief.missing = 0
    if claim.pictured:
        belief.score = round(float(claim.explained[own].mean()), 4)
