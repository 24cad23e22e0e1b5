"""Retained frames gone over once more: in reverse, or forwards with later prompts in mind.

Algorithm: `SAM2VideoPredictor.propagate_in_video` of PyPI `sam2`. Where that one overwrites what
tracking goes on from, a walk has a memory of its own: whatever it finds, masks of new frames are as
if it had not been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from kinemask_segmenter.engines.sam2.features import Encoded
from kinemask_segmenter.engines.sam2.forward import Ask, Forward
from kinemask_segmenter.engines.sam2.frames import moved
from kinemask_segmenter.engines.sam2.memory import ObjectMemory, Output
from kinemask_segmenter.engines.sam2.tokens import Past
from kinemask_segmenter.engines.sam2.work import Look, Work


@dataclass(frozen=True)
class Walked:
    """What a walk found of an object on a frame."""

    output: Output
    reverse: bool
    """The walk's direction: a click on the frame reads the same past."""


@dataclass(frozen=True)
class Traveller:
    """One object on a walk."""

    memory: ObjectMemory
    """The walk's own."""
    found: dict[int, Walked]
    """The stream's notes of what walks found, by index."""
    is_followed: Callable[[], bool]
    """False once the object was removed, or begun anew, since the walk began."""


class CoreWalk:
    """Invariant: `_frames` holds what is still to be gone over, whatever the stream lets go."""

    def __init__(
        self,
        forward: Forward,
        fill_hole_area_px: int,
        frames: Sequence[tuple[int, Encoded]],
        travellers: Mapping[int, Traveller],
        *,
        reverse: bool,
    ) -> None:
        self._forward = forward
        self._fill_hole_area_px = fill_hole_area_px
        self._frames = deque(frames)
        self._travellers = dict(travellers)
        self._reverse = reverse

    def step(self) -> Work[dict[int, Output]]:
        """What is there of each object on the next frame, by id.

        On a frame that an object was prompted on, it is what the prompt gave.
        """
        index, stored = self._frames.popleft()
        here = {key: each for key, each in self._travellers.items() if each.is_followed()}
        found = {
            key: each.memory.conditioning[index]
            for key, each in here.items()
            if index in each.memory.conditioning
        }
        asked = [key for key in here if key not in found]
        frame = moved(stored, self._forward.device)
        asks = [Ask(frame, self._past(here[key].memory, index)) for key in asked]
        if asks:
            outputs = yield Look(self._forward, asks, self._fill_hole_area_px)
            for key, output in zip(asked, outputs, strict=True):
                here[key].memory.follow(index, output)
                here[key].found[index] = Walked(output, self._reverse)
                found[key] = output
        return found

    def _past(self, memory: ObjectMemory, index: int) -> Past:
        past = walked_past(memory, index, reverse=self._reverse)
        return past_on(past, self._forward.device)


def walked_past(memory: ObjectMemory, index: int, *, reverse: bool) -> Past:
    """What a walk reads on a frame: of all prompted frames their maps, also of those to come."""
    past = memory.past(index, reverse=reverse)
    if reverse:
        return past
    own = sum(key <= index for key in memory.conditioning)
    every = memory.past(index, reverse=True).maps[: len(memory.conditioning)]
    return replace(past, maps=(*every, *past.maps[own:]))


def past_on(past: Past, device: torch.device) -> Past:
    """A past with its tensors on a device, where some may have been sent away."""
    return Past(
        tuple((slot, each.to(device)) for slot, each in past.maps),
        tuple((ago, each.to(device)) for ago, each in past.pointers),
    )
