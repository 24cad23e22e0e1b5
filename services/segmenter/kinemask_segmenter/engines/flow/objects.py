"""One followed object: what it looks like, where it is, and what the user last said about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from kinemask_segmenter.engines.base import Prompt
from kinemask_segmenter.engines.flow.appearance import Appearance
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.follow import Belief, Bools, Window, advance
from kinemask_segmenter.engines.flow.motion import Motion
from kinemask_segmenter.engines.flow.pixels import Floats, Geometry, WorkFrame
from kinemask_segmenter.engines.flow.prompts import segment, to_work
from kinemask_segmenter.engines.prompting import merge_prompts

_SAME_OBJECT = 0.5
"""Overlap with the old mask above which a correction keeps what was learnt."""

_MUCH_WRONG = 0.4
_LEAST_EFFORT = 0.25


@dataclass(frozen=True)
class Said:
    """The user's words about an object on the frame they last spoke of."""

    frame_id: int
    prompt: Prompt
    base: Bools | None
    """`(h, w)` mask the object had on that frame before those words; None for a new one."""


@dataclass
class Followed:
    """State of one object.

    Invariant: depends only on the object's own prompts, the frames since, and, while it touches
    other objects or a box around it holds some of them, on those (`layers`, `others`): adding or
    removing one that is far away changes nothing.
    """

    object_id: int
    look: Appearance
    belief: Belief
    said: Said

    def advance(self, frame: WorkFrame, motion: Motion, config: FlowConfig) -> None:
        """Carry the object to the next frame; `learn` comes after."""
        advance(self.belief, self.look, frame, motion, config)

    def learn(self, frame: WorkFrame, config: FlowConfig) -> None:
        """Learn from the frame it was carried to."""
        if not self.belief.missing:
            probability = self.belief.level.astype(np.float32) / np.float32(255)
            self.look.adapt(frame, probability, config)


def start(
    frame_id: int,
    frame: WorkFrame,
    prompt: Prompt,
    geometry: Geometry,
    config: FlowConfig,
    others: Bools | None = None,
) -> Followed:
    """A new object from a valid prompt.

    Args:
        others: pixels of other objects on that frame, which a box does not take.
    """
    mask = segment(frame.lab, replace(to_work(prompt, geometry), others=others), None)
    look = Appearance.learn(frame, _soften(mask), prompt.object_id, config)
    return Followed(prompt.object_id, look, believe(mask), Said(frame_id, prompt, None))


def refine(
    old: Followed,
    base: Bools,
    frame_id: int,
    frame: WorkFrame,
    prompt: Prompt,
    geometry: Geometry,
    config: FlowConfig,
    others: Bools | None = None,
) -> Followed:
    """The same object after a further prompt.

    Args:
        base: the object's mask on that frame as it was followed.
        others: pixels of other objects on that frame, which a box does not take.
    """
    said = Said(frame_id, prompt, base)
    if old.said.frame_id == frame_id:
        said = Said(frame_id, merge_prompts(old.said.prompt, prompt), old.said.base)
    work = replace(to_work(said.prompt, geometry), others=others)
    mask = segment(frame.lab, work, said.base)
    overlap = float((mask & base).sum()) / max(float((mask | base).sum()), 1.0)
    if overlap < _SAME_OBJECT:
        look = Appearance.learn(frame, _soften(mask), old.object_id, config)
    else:
        look = old.look
        look.relearn(frame, _soften(mask), config, _effort(said.prompt, overlap))
    return Followed(old.object_id, look, believe(mask), said)


def _effort(prompt: Prompt, overlap: float) -> float:
    """How much a corrected mask has to teach: 0..1.

    Who points at pixels says something about those, however few they are. A box whose mask is
    nearly the one that was there says little.
    """
    if prompt.box_xyxy is None or len(prompt.points_xy):
        return 1.0
    return min(max((1.0 - overlap) / _MUCH_WRONG, _LEAST_EFFORT), 1.0)


def _soften(mask: Bools) -> Floats:
    """`(h, w)` probability that leaves the pixels on the contour out of the learning."""
    soft = np.asarray(cv2.blur(mask.astype(np.float32), (3, 3)), np.float32)
    # A thin object has nothing but contour: then its pixels are taken as they are.
    return soft if (soft[mask] > 0.9).mean() > 0.5 else mask.astype(np.float32)


def believe(mask: Bools) -> Belief:
    """The state of an object that is surely there. Raises ValueError: nothing is."""
    level = mask.astype(np.uint8) * np.uint8(255)
    window = Window.around(mask, 0)
    if window is None:
        raise ValueError("expected a mask with at least one pixel, got an empty one")
    return Belief(level, float(mask.sum()), window)
