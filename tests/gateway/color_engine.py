"""A segmentation engine for tests that follows colours: exact, forwards and backwards.

An object's mask is every pixel of the colour that it had when it was prompted. Scores fall with
every frame that the stream has stepped, so a lost, repeated or reordered frame shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from kinemask_segmenter.engines.base import (
    EngineInfo,
    FrameGoneError,
    Image,
    ImageMasks,
    ObjectMask,
    Prompt,
    StreamOptions,
)
from kinemask_segmenter.engines.everything import EverythingOptions

from tests.segmenter.box_engine import box_of, object_mask

NEAR = 12


def color_at(image: Image, prompt: Prompt) -> list[int]:
    """The colour in the middle of what was prompted."""
    x_min, y_min, x_max, y_max = box_of(prompt)
    pixel = image[(y_min + y_max) // 2, (x_min + x_max) // 2]
    return [int(level) for level in pixel]


class ColorStream:
    """See the module."""

    def __init__(self, snapshot: bytes | None) -> None:
        self._steps = 0
        self._colors: dict[int, list[int]] = {}
        if snapshot is not None:
            self._steps, colors = json.loads(snapshot)
            self._colors = {int(key): value for key, value in colors.items()}

    def prepare(self, image: Image) -> object:
        return image

    async def step(self, frame_id: int, prepared: object, prompts: Sequence[Prompt]) -> object:
        assert isinstance(prepared, np.ndarray)
        for prompt in prompts:
            self._colors[prompt.object_id] = color_at(prepared, prompt)
        self._steps += 1
        return prepared, self._steps, dict(self._colors)

    def finish(self, raw: object) -> list[ObjectMask]:
        assert isinstance(raw, tuple)
        image, steps, colors = raw
        score = 0.5 + 0.5 / (1 + steps)
        found = []
        for object_id, color in sorted(colors.items()):
            away = np.abs(image.astype(int) - np.array(color)).max(axis=2)
            found.append(object_mask(object_id, away <= NEAR, score))
        return found

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        raise FrameGoneError(frame_id, [])

    def remove(self, object_id: int) -> bool:
        return self._colors.pop(object_id, None) is not None

    def object_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self._colors))

    async def snapshot(self) -> bytes:
        return json.dumps([self._steps, self._colors]).encode()

    def close(self) -> None:
        return


class ColorEngine:
    """See the module."""

    def __init__(self) -> None:
        self.info = EngineInfo("colors", "colors", "builtin", "cpu", 1, "colors")

    def warm_up(self) -> None:
        return

    def options(self, wished: StreamOptions) -> StreamOptions:
        return StreamOptions(retained_frames=1)

    def open_stream(
        self,
        height: int,
        width: int,
        snapshot: bytes | None = None,
        options: StreamOptions | None = None,
    ) -> ColorStream:
        return ColorStream(snapshot)

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        raise NotImplementedError("the colour engine follows streams")

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        raise NotImplementedError("the colour engine follows streams")

    def close(self) -> None:
        return
