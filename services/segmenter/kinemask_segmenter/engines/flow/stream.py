"""One video followed by the flow engine."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from kinemask_segmenter.engines.base import FrameGoneError, Image, ObjectMask, Prompt
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.masks import RawObject, compete, crop, expand
from kinemask_segmenter.engines.flow.motion import Halves, Motion, backward_flow
from kinemask_segmenter.engines.flow.objects import refine, start
from kinemask_segmenter.engines.flow.pixels import Geometry, WorkFrame, to_lab
from kinemask_segmenter.engines.flow.prompts import to_work
from kinemask_segmenter.engines.flow.state import Retained, StreamState, pack, unpack
from kinemask_segmenter.engines.flow.walking import FlowWalk, Passed, Traveller
from kinemask_segmenter.engines.prompting import check_image, check_prompts

ResultT = TypeVar("ResultT")

_UNSURE_SCORE = 0.5
"""Highest score of an object that touches another one, where both may be taken for each other."""


class FlowStream:
    """State of one video; see `SegmenterStream` and `Walking` for the contract.

    Invariants: `_lock` is held by whoever reads or writes `_state` and `_retained`, so two steps
    never overlap even if the caller gave up waiting for the first. `_retained` has at most
    `config.retained_frames` entries, the newest last, and every flow in it leads to its neighbour.
    """

    def __init__(
        self,
        geometry: Geometry,
        config: FlowConfig,
        executor: Executor,
        encode: Callable[[StreamState, Geometry], bytes],
        state: StreamState | None = None,
    ) -> None:
        self._geometry = geometry
        self._config = config
        self._executor = executor
        self._encode = encode
        self._state = state or StreamState()
        self._retained: deque[Retained] = deque(maxlen=config.retained_frames)
        self._lock = threading.Lock()

    def prepare(self, image: Image) -> WorkFrame:
        """Working image and features. Raises ValueError for an image of another size."""
        check_image(image, self._geometry.height, self._geometry.width)
        return WorkFrame.of(to_lab(image, self._geometry), self._geometry)

    async def step(
        self, frame_id: int, prepared: WorkFrame, prompts: Sequence[Prompt]
    ) -> list[RawObject]:
        """Next frame. Raises ValueError, with nothing changed, for a bad prompt or frame id."""
        return await self._run(partial(self._step, frame_id, prepared, prompts))

    def finish(self, raw: list[RawObject]) -> list[ObjectMask]:
        """Masks at the original size."""
        return expand(raw, self._geometry)

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        """Start or refine on a retained frame and follow up to the newest one.

        Raises:
            FrameGoneError: the frame is not retained.
            ValueError: a bad prompt; nothing was changed.
        """
        await self._run(partial(self._prompt_late, frame_id, prompts))

    def walk(self, frame_id: int, to_frame_id: int, object_ids: Sequence[int]) -> FlowWalk:
        """See `Walking`. Raises FrameGoneError: a frame is not retained."""
        with self._lock:
            first, last = self._index_of(frame_id), self._index_of(to_frame_id)
            between = list(self._retained)[min(first, last) : max(first, last) + 1]
            passed = [Passed(each.frame_id, each.lab, dict(each.masks)) for each in between]
        return FlowWalk(
            passed if first <= last else passed[::-1],
            partial(self._travellers, object_ids),
            lambda key: key in self._state.objects,
            self._geometry,
            self._config,
            self._run,
        )

    def _travellers(self, object_ids: Sequence[int]) -> dict[int, Traveller]:
        with self._lock:
            return {
                key: Traveller.of(each)
                for key, each in self._state.objects.items()
                if not object_ids or key in object_ids
            }

    def remove(self, object_id: int) -> bool:
        """Forget an object."""
        with self._lock:
            for entry in self._retained:
                entry.masks.pop(object_id, None)
            self._state.layers.forget(object_id)
            return self._state.objects.pop(object_id, None) is not None

    def object_ids(self) -> tuple[int, ...]:
        """Objects followed now, ascending."""
        return tuple(sorted(self._state.objects))

    async def snapshot(self) -> bytes:
        """State without the retained frames: late prompts reach back to the restore at most."""
        return await self._run(self._snapshot)

    def close(self) -> None:
        """Free what the stream holds."""
        with self._lock:
            self._state = StreamState()
            self._retained.clear()

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _snapshot(self) -> bytes:
        with self._lock:
            return self._encode(self._state, self._geometry)

    def _step(self, frame_id: int, frame: WorkFrame, prompts: Sequence[Prompt]) -> list[RawObject]:
        with self._lock:
            state = self._state
            if state.last_frame_id is not None and frame_id <= state.last_frame_id:
                raise ValueError(f"expected a frame id above {state.last_frame_id}, got {frame_id}")
            check_prompts(prompts, state.objects, self._geometry.height, self._geometry.width)
            entry = Retained(frame_id, frame.lab, self._follow_all(frame))
            state.last_frame_id, state.grey = frame_id, frame.flow_grey
            entry.masks = {key: pack(each.belief.level) for key, each in state.objects.items()}
            for prompt in prompts:
                self._apply(prompt, entry, frame)
            self._retained.append(entry)
            return self._raw()

    def _follow_all(self, frame: WorkFrame) -> Halves | None:
        if self._state.grey is None:
            return None
        flow = backward_flow(frame.flow_grey, self._state.grey)
        objects = self._state.objects
        if objects:
            motion = Motion.of(flow, self._geometry)
            for each in objects.values():
                each.advance(frame, motion, self._config)
            beliefs = {key: each.belief for key, each in objects.items()}
            self._state.layers.step(frame.lab, motion, beliefs)
            for each in objects.values():
                each.learn(frame, self._config)
        return flow

    def _apply(self, prompt: Prompt, entry: Retained, frame: WorkFrame) -> None:
        """Start or refine the prompt's object on the frame of `entry`."""
        objects, key = self._state.objects, prompt.object_id
        if key in objects and self._known_better(prompt, entry):
            return
        self._state.layers.correct(key)
        packed = entry.masks.get(key)
        told = entry.frame_id, frame, prompt, self._geometry, self._config
        others = entry.others(key, frame.shape)
        if key in objects and packed is not None:
            item = refine(objects[key], unpack(packed, frame.shape), *told, others)
        else:
            item = start(*told, others)
        objects[key] = item
        if entry.frame_id == self._state.last_frame_id:
            self._state.layers.show(key, frame.lab, item.belief.level > 127)
        entry.masks[key] = pack(item.belief.level)
        self._state.objects = dict(sorted(objects.items()))

    def _known_better(self, prompt: Prompt, entry: Retained) -> bool:
        """Whether the prompt is but a box around an object whose layer is known to be there."""
        bare = prompt.mask is None and len(prompt.points_xy) == 0
        if not bare or prompt.box_xyxy is None or entry.frame_id != self._state.last_frame_id:
            return False
        box = to_work(prompt, self._geometry).box_xyxy
        return box is not None and self._state.layers.holds(prompt.object_id, box)

    def _prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        with self._lock:
            entries = list(self._retained)
            at = self._index_of(frame_id)
            known, size = entries[at].masks, (self._geometry.height, self._geometry.width)
            check_prompts(prompts, known, *size)
            frame = WorkFrame.of(entries[at].lab, self._geometry)
            for prompt in prompts:
                self._apply(prompt, entries[at], frame)
            self._replay(entries[at + 1 :], sorted({prompt.object_id for prompt in prompts}))

    def _index_of(self, frame_id: int) -> int:
        ids = [entry.frame_id for entry in self._retained]
        if frame_id not in ids:
            raise FrameGoneError(frame_id, ids, self._config.retained_frames)
        return ids.index(frame_id)

    def _replay(self, entries: Sequence[Retained], object_ids: Sequence[int]) -> None:
        """Carry some objects over stored frames; the others are not touched."""
        for entry in entries:
            if entry.flow is None:
                continue
            frame = WorkFrame.of(entry.lab, self._geometry)
            motion = Motion.of(entry.flow, self._geometry)
            for key in object_ids:
                item = self._state.objects[key]
                item.advance(frame, motion, self._config)
                item.learn(frame, self._config)
                entry.masks[key] = pack(item.belief.level)

    def _raw(self) -> list[RawObject]:
        state = self._state
        objects = [crop(key, each.belief) for key, each in state.objects.items()]
        return [
            replace(each, score=min(each.score, _UNSURE_SCORE))
            if each.object_id in state.layers.unsure
            else each
            for each in compete(objects, self._geometry)
        ]
