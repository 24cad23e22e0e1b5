"""One video followed by SAM 2: frame ids, prompts as they were said, and the core's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinemask_segmenter.engines.base import FrameGoneError, Image, ObjectMask, Prompt
from kinemask_segmenter.engines.prompting import check_image, check_prompts, merge_prompts
from kinemask_segmenter.engines.sam2 import snapshot as snapshots
from kinemask_segmenter.engines.sam2.core import MemoryPolicy, StreamCore
from kinemask_segmenter.engines.sam2.memory import Output
from kinemask_segmenter.engines.sam2.pixels import (
    to_input,
    to_mask_input,
    to_object_mask,
    to_points,
)
from kinemask_segmenter.engines.sam2.scheduler import Lane
from kinemask_segmenter.engines.sam2.walking import CoreWalk
from kinemask_segmenter.engines.sam2.work import Call, Work

Raw = dict[int, Output]
"""What is on one frame, by object id."""


@dataclass
class _Retained:
    """A frame that can still be prompted."""

    frame_id: int
    index: int
    said: dict[int, Prompt]
    """What was said of each object on it, all together."""


class Sam2Walk:
    """A `StreamWalk` whose frames are held from its first step on."""

    def __init__(
        self, core: StreamCore, lane: Lane, frames: Sequence[_Retained], object_ids: Sequence[int]
    ) -> None:
        self._core = core
        self._lane = lane
        self._indices = [each.index for each in frames]
        self._object_ids = object_ids
        self._begun: CoreWalk | None = None
        self.frame_ids = [each.frame_id for each in frames]

    async def step(self) -> Raw:
        """The next frame.

        Raises:
            FrameGoneError: at the first step: a frame has gone since the walk was asked for.
        """
        return await self._lane.run(self._step())

    def _step(self) -> Work[Raw]:
        if self._begun is None:
            self._begun = self._core.walk(self._indices, self._object_ids)
        return (yield from self._begun.step())


class Sam2Stream:
    """State of one video; see `SegmenterStream`, `Walking` and `Forgetting` for the contract.

    Invariants: `_core` and `_retained` change only in work of the stream's lane, so two changes
    never overlap even if the caller gave up waiting for the first. `_retained` has the frames that
    the core retains, oldest first.
    """

    def __init__(self, core: StreamCore, lane: Lane, facts: snapshots.StreamFacts) -> None:
        self._core = core
        self._lane = lane
        self._facts = facts
        self._keep = core.config.retained_frames
        self._retained: list[_Retained] = []
        self._last_frame_id: int | None = None
        self._removed: set[int] = set()

    def prepare(self, image: Image) -> torch.Tensor:
        """Resized and normalised. Raises ValueError for an image of another size."""
        check_image(image, self._facts.height, self._facts.width)
        return to_input(image, self._facts.input_size_px)

    async def step(self, frame_id: int, prepared: torch.Tensor, prompts: Sequence[Prompt]) -> Raw:
        """Next frame. Raises ValueError, with nothing changed, for a bad prompt or frame id."""
        return await self._lane.run(self._step(frame_id, prepared, prompts))

    def finish(self, raw: Raw) -> list[ObjectMask]:
        """Masks at the original size."""
        size = self._facts.height, self._facts.width
        return [to_object_mask(key, raw[key], *size) for key in sorted(raw)]

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        """Prompt a retained frame and carry the objects forward to the newest.

        Raises:
            FrameGoneError: the frame is not retained.
            ValueError: a bad prompt; nothing was changed.
        """
        await self._lane.run(self._prompt_late(frame_id, prompts))

    def walk(self, frame_id: int, to_frame_id: int, object_ids: Sequence[int]) -> Sam2Walk:
        """See `Walking`. Raises FrameGoneError: a frame is not retained."""
        first, last = self._at(frame_id), self._at(to_frame_id)
        between = [
            each
            for each in self._retained
            if min(first.index, last.index) <= each.index <= max(first.index, last.index)
        ]
        frames = between if frame_id <= to_frame_id else between[::-1]
        return Sam2Walk(self._core, self._lane, frames, object_ids)

    async def clear_frame(self, frame_id: int, object_id: int) -> bool:
        """See `Forgetting`. Raises FrameGoneError: the frame is not retained."""
        return await self._lane.run(self._clear_frame(frame_id, object_id))

    def remove(self, object_id: int) -> bool:
        """Forget an object before the next piece of work; it may be under way right now."""
        known = object_id in self.object_ids()
        if known:
            self._removed.add(object_id)
        return known

    def object_ids(self) -> tuple[int, ...]:
        """Objects followed now, ascending."""
        return tuple(key for key in self._core.object_ids if key not in self._removed)

    async def snapshot(self) -> bytes:
        """State without the retained frames: late prompts reach back to the restore at most."""
        return await self._lane.run(self._snapshot())

    def restore(self, saved: snapshots.SavedStream) -> None:
        """Go on from a state, before the first frame."""
        self._core.restore(saved.next_index, saved.objects)
        self._last_frame_id = saved.last_frame_id

    def close(self) -> None:
        """Free what the stream holds."""
        self._core.clear()
        self._retained.clear()

    # --- on the device

    def _step(self, frame_id: int, image: torch.Tensor, prompts: Sequence[Prompt]) -> Work[Raw]:
        self._settle()
        if self._last_frame_id is not None and frame_id <= self._last_frame_id:
            raise ValueError(f"expected a frame id above {self._last_frame_id}, got {frame_id}")
        self._check(prompts)
        index = yield from self._core.see(image)
        at = _Retained(frame_id, index, {})
        self._last_frame_id = frame_id
        self._retained = [*self._retained, at][-self._keep :]
        raw = yield from self._core.carry(index)
        raw.update((yield from self._say(at, prompts)))
        return raw

    def _prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> Work[None]:
        self._settle()
        at = self._at(frame_id)
        self._check(prompts)
        yield from self._say(at, prompts)

    def _clear_frame(self, frame_id: int, object_id: int) -> Work[bool]:
        self._settle()
        at = self._at(frame_id)
        if at.said.pop(object_id, None) is None:
            return False
        yield from self._core.unsay(at.index, object_id)
        if self._core.config.policy is MemoryPolicy.EXACT:
            # What was said later refined masks that are not there any more.
            for each in [each for each in self._retained if each.index > at.index]:
                if object_id in each.said:
                    yield from self._say_one(each.index, each.said[object_id])
        return True

    def _at(self, frame_id: int) -> _Retained:
        for each in self._retained:
            if each.frame_id == frame_id:
                return each
        raise FrameGoneError(frame_id, [each.frame_id for each in self._retained], self._keep)

    def _say(self, at: _Retained, prompts: Sequence[Prompt]) -> Work[Raw]:
        """Each object once, with all that was said of it on the frame."""
        for prompt in prompts:
            earlier = at.said.get(prompt.object_id)
            at.said[prompt.object_id] = merge_prompts(earlier, prompt) if earlier else prompt
        ids = dict.fromkeys(prompt.object_id for prompt in prompts)
        raw: Raw = {}
        for key in ids:
            raw[key] = yield from self._say_one(at.index, at.said[key])
        return raw

    def _say_one(self, index: int, prompt: Prompt) -> Work[Output]:
        facts = self._facts
        device = self._core.device
        found: Output | None = None
        if prompt.mask is not None:
            mask = to_mask_input(prompt.mask, facts.input_size_px).to(device)
            found = yield from self._core.say(index, prompt.object_id, None, mask)
        # SAM 2 takes a mask or clicks; clicks beside a mask refine it.
        if prompt.mask is None or len(prompt.points_xy) or prompt.box_xyxy is not None:
            points = to_points(prompt, facts.height, facts.width, facts.input_size_px)
            found = yield from self._core.say(index, prompt.object_id, points.to(device))
        assert found is not None
        return found

    def _settle(self) -> None:
        """Carry removals out."""
        while self._removed:
            key = self._removed.pop()
            self._core.remove(key)
            for each in self._retained:
                each.said.pop(key, None)

    def _check(self, prompts: Sequence[Prompt]) -> None:
        check_prompts(prompts, self._core.object_ids, self._facts.height, self._facts.width)

    def _snapshot(self) -> Work[bytes]:
        self._settle()
        saved = snapshots.SavedStream(
            self._core.next_index, self._last_frame_id, self._core.memories
        )
        blob: bytes = yield Call(lambda: snapshots.encode(self._facts, saved))
        return blob
