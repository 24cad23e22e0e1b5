"""Retained frames gone over once more, in either direction.

Masks are carried by flow from neighbour to neighbour, as on the way there, and judged by what each
object looks like as it is known when the walk begins: later prompts have their say on earlier
frames.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kinemask_segmenter.engines.flow.appearance import Appearance
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.follow import Belief, Bools, Window, advance
from kinemask_segmenter.engines.flow.masks import RawObject, compete, crop
from kinemask_segmenter.engines.flow.motion import Motion, backward_flow
from kinemask_segmenter.engines.flow.objects import Followed, believe
from kinemask_segmenter.engines.flow.pixels import Bytes, Geometry, WorkFrame
from kinemask_segmenter.engines.flow.state import unpack

Run = Callable[[Callable[[], list[RawObject]]], Awaitable[list[RawObject]]]
"""Runs blocking work in a thread of the engine."""


@dataclass(frozen=True)
class Passed:
    """A frame that a walk goes over, as it was when the walk was asked for."""

    frame_id: int
    lab: Bytes
    masks: dict[int, Bytes]
    """Bit-packed working-size mask of each object followed then."""


@dataclass
class Traveller:
    """One object on a walk."""

    look: Appearance
    area_px: float
    prompted_on: int
    """The frame it was last prompted on: there it is what the prompt gave."""
    belief: Belief | None = None
    """None until the walk comes to a frame it was followed on."""

    @classmethod
    def of(cls, followed: Followed) -> Traveller:
        """A copy: the stream goes on learning."""
        look = copy.deepcopy(followed.look)
        return cls(look, followed.belief.area_px, followed.said.frame_id)


class FlowWalk:
    """A `StreamWalk`; only reads what it was given."""

    def __init__(
        self,
        frames: Sequence[Passed],
        begin: Callable[[], dict[int, Traveller]],
        is_followed: Callable[[int], bool],
        geometry: Geometry,
        config: FlowConfig,
        run: Run,
    ) -> None:
        """`begin` makes the travellers at the first step, in its thread."""
        self.frame_ids = [each.frame_id for each in frames]
        self._frames = list(frames)
        self._begin = begin
        self._travellers: dict[int, Traveller] | None = None
        self._is_followed = is_followed
        self._geometry = geometry
        self._config = config
        self._run = run
        self._grey: Bytes | None = None

    async def step(self) -> list[RawObject]:
        """The next frame."""
        return await self._run(self._step)

    def _step(self) -> list[RawObject]:
        if self._travellers is None:
            self._travellers = self._begin()
        passed = self._frames.pop(0)
        frame = WorkFrame.of(passed.lab, self._geometry)
        motion = None
        if self._grey is not None:
            motion = Motion.of(backward_flow(frame.flow_grey, self._grey), self._geometry)
        self._grey = frame.flow_grey
        here = {key: each for key, each in self._travellers.items() if self._is_followed(key)}
        for key, each in here.items():
            packed = passed.masks.get(key)
            mask = None if packed is None else unpack(packed, frame.shape)
            self._carry(each, mask, passed.frame_id, frame, motion)
        seen = [key for key, each in here.items() if each.belief is not None or key in passed.masks]
        found = [crop(key, here[key].belief or _nowhere(frame)) for key in sorted(seen)]
        return compete(found, self._geometry)

    def _carry(
        self,
        each: Traveller,
        mask: Bools | None,
        frame_id: int,
        frame: WorkFrame,
        motion: Motion | None,
    ) -> None:
        anew = each.belief is None or frame_id == each.prompted_on
        if anew and mask is not None and mask.any():
            each.belief = believe(mask)
            each.belief.area_px = each.area_px
        elif each.belief is not None and motion is not None:
            advance(each.belief, each.look, frame, motion, self._config)


def _nowhere(frame: WorkFrame) -> Belief:
    """Followed, but not to be seen since the walk began."""
    height, width = frame.shape
    level = np.zeros((height, width), np.uint8)
    return Belief(level, 0.0, Window(0, 0, width, height), missing=1, score=0.0)
