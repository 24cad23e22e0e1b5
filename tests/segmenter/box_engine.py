"""A segmentation engine for tests: follows nothing, remembers everything, waits when told to.

An object's mask is its prompt's box moved right by one pixel for each frame since; scores say how
many frames the stream has stepped. So a lost, repeated or reordered frame shows in every result.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from kinemask_segmenter.engines.base import (
    BoolMask,
    EngineInfo,
    FrameGoneError,
    Image,
    ImageMasks,
    ObjectMask,
    Prompt,
    StreamOptions,
)
from kinemask_segmenter.engines.everything import EverythingOptions

RETAINED = 4


@dataclass
class Followed:
    """One object: its box at the frame it was prompted on."""

    box: list[int]
    age: int = 0

    def mask(self, height: int, width: int) -> BoolMask:
        x_min, y_min, x_max, y_max = self.box
        mask = np.zeros((height, width), np.bool_)
        mask[y_min:y_max, x_min + self.age : x_max + self.age] = True
        return mask


def box_of(prompt: Prompt) -> list[int]:
    """Whole pixels around whatever was prompted."""
    if prompt.mask is not None:
        rows, columns = np.nonzero(prompt.mask)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return [int(edge) for edge in edges]
    if prompt.box_xyxy is not None:
        return [round(edge) for edge in prompt.box_xyxy]
    x, y = prompt.points_xy[0].tolist()
    return [int(x), int(y), int(x) + 1, int(y) + 1]


def object_mask(object_id: int, mask: BoolMask, score: float) -> ObjectMask:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return ObjectMask(object_id, mask, 0.0, None, 0)
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x_min, y_min, x_max, y_max = (float(edge) for edge in edges)
    return ObjectMask(object_id, mask, score, (x_min, y_min, x_max, y_max), len(rows))


@dataclass
class Controls:
    """What a test may do to an engine while it runs."""

    fail_on: set[int] = field(default_factory=set)
    """Frames whose step raises."""
    hold: threading.Event | None = None
    """A step waits for it in its thread."""
    holding: int = 0
    """Steps that wait now."""
    open_streams: int = 0


class BoxStream:
    """See the module."""

    def __init__(self, controls: Controls, height: int, width: int, snapshot: bytes | None) -> None:
        self._controls = controls
        self._size = (height, width)
        self._steps = 0
        self._objects: dict[int, Followed] = {}
        self._retained: list[int] = []
        controls.open_streams += 1
        if snapshot is not None:
            self._restore(snapshot)

    def _restore(self, snapshot: bytes) -> None:
        size, self._steps, objects = json.loads(snapshot)
        if tuple(size) != self._size:
            raise ValueError(f"expected frames of {size}, found {self._size}")
        self._objects = {int(key): Followed(*value) for key, value in objects.items()}

    def prepare(self, image: Image) -> object:
        if image.shape != (*self._size, 3):
            raise AssertionError(f"prepared {image.shape} in a stream of {self._size}")
        return float(image.mean())

    async def step(self, frame_id: int, prepared: object, prompts: Sequence[Prompt]) -> object:
        return await asyncio.get_running_loop().run_in_executor(None, self._step, frame_id, prompts)

    def _step(self, frame_id: int, prompts: Sequence[Prompt]) -> object:
        if self._controls.hold is not None:
            self._controls.holding += 1
            self._controls.hold.wait()
            self._controls.holding -= 1
        if frame_id in self._controls.fail_on:
            raise RuntimeError("asked to fail")
        for followed in self._objects.values():
            followed.age += 1
        for prompt in prompts:
            self._objects[prompt.object_id] = Followed(box_of(prompt))
        self._steps += 1
        self._retained = [*self._retained, frame_id][-RETAINED:]
        return self._steps, {key: Followed(v.box, v.age) for key, v in self._objects.items()}

    def finish(self, raw: object) -> list[ObjectMask]:
        assert isinstance(raw, tuple)
        steps, objects = raw
        score = 1 / (1 + steps)
        return [object_mask(k, objects[k].mask(*self._size), score) for k in sorted(objects)]

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        if frame_id not in self._retained:
            raise FrameGoneError(frame_id, self._retained)
        age = len(self._retained) - 1 - self._retained.index(frame_id)
        for prompt in prompts:
            self._objects[prompt.object_id] = Followed(box_of(prompt), age)

    def remove(self, object_id: int) -> bool:
        return self._objects.pop(object_id, None) is not None

    def object_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self._objects))

    async def snapshot(self) -> bytes:
        objects = {key: [value.box, value.age] for key, value in self._objects.items()}
        return json.dumps([self._size, self._steps, objects]).encode()

    def close(self) -> None:
        self._controls.open_streams -= 1


class BoxEngine:
    """See the module."""

    def __init__(self, name: str = "boxes") -> None:
        self.info = EngineInfo(name, name, "builtin", "cpu", RETAINED, name)
        self.controls = Controls()

    def warm_up(self) -> None:
        return

    def options(self, wished: StreamOptions) -> StreamOptions:
        return StreamOptions(retained_frames=self.info.retained_frames)

    def open_stream(
        self,
        height: int,
        width: int,
        snapshot: bytes | None = None,
        options: StreamOptions | None = None,
    ) -> BoxStream:
        return BoxStream(self.controls, height, width, snapshot)

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        height, width = image.shape[:2]
        masks = [Followed(box_of(prompt)).mask(height, width) for prompt in prompts]
        return ImageMasks(
            [
                [object_mask(p.object_id, mask, 1 / (1 + n)) for n in range(candidates)]
                for p, mask in zip(prompts, masks, strict=True)
            ]
        )

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        raise NotImplementedError("the box engine segments what is prompted")

    def close(self) -> None:
        return
