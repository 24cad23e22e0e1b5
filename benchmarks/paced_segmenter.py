"""A segmenter whose engine is held to a pace: `python -m benchmarks.paced_segmenter MS`.

For benchmarks of what happens around a slow engine; otherwise it is the real service.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kinemask_chassis.launch import run
from kinemask_chassis.logs import configure_logging
from kinemask_chassis.settings import load_settings
from kinemask_segmenter.engines.base import (
    EngineInfo,
    Image,
    ImageMasks,
    ObjectMask,
    Prompt,
    StreamOptions,
)
from kinemask_segmenter.engines.everything import EverythingOptions
from kinemask_segmenter.engines.registry import EngineSet
from kinemask_segmenter.service import SegmenterService
from kinemask_segmenter.settings import SegmenterSettings


@dataclass
class PacedStream:
    """Answers with the prompted boxes, `pace_s` after each frame."""

    height: int
    width: int
    pace_s: float

    def __post_init__(self) -> None:
        self._boxes: dict[int, tuple[float, float, float, float]] = {}

    def prepare(self, image: Image) -> object:
        return image.shape

    async def step(self, frame_id: int, prepared: object, prompts: Sequence[Prompt]) -> object:
        for prompt in prompts:
            self._boxes[prompt.object_id] = prompt.box_xyxy or (0.0, 0.0, 8.0, 8.0)
        await asyncio.sleep(self.pace_s)
        return dict(self._boxes)

    def finish(self, raw: object) -> list[ObjectMask]:
        assert isinstance(raw, dict)
        return [self._object(object_id, box) for object_id, box in sorted(raw.items())]

    def _object(self, object_id: int, box: tuple[float, float, float, float]) -> ObjectMask:
        x_min, y_min, x_max, y_max = (int(edge) for edge in box)
        mask = np.zeros((self.height, self.width), np.bool_)
        mask[y_min:y_max, x_min:x_max] = True
        return ObjectMask(object_id, mask, 1.0, box, int(mask.sum()))

    async def prompt_late(self, frame_id: int, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            self._boxes[prompt.object_id] = prompt.box_xyxy or (0.0, 0.0, 8.0, 8.0)

    def remove(self, object_id: int) -> bool:
        return self._boxes.pop(object_id, None) is not None

    def object_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self._boxes))

    async def snapshot(self) -> bytes:
        return b"paced"

    def close(self) -> None:
        self._boxes.clear()


@dataclass
class PacedEngine:
    """Stands where a model would; every step takes `pace_s`."""

    pace_s: float

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("paced", "paced", "builtin", "cpu", 1, "paced")

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
    ) -> PacedStream:
        return PacedStream(height, width, self.pace_s)

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        raise NotImplementedError("no benchmark sends it pictures: the paced engine serves streams")

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        raise NotImplementedError("the paced engine segments what is prompted")

    def close(self) -> None:
        return


def main() -> int:
    settings = load_settings(SegmenterSettings)
    configure_logging("segmenter", settings.log_level, settings.log_format)
    engine = PacedEngine(float(sys.argv[1]) / 1e3)
    return run(SegmenterService(settings, EngineSet([engine])))


if __name__ == "__main__":
    sys.exit(main())
