"""The SAM 2 engine: one checkpoint, any number of streams and pictures, one device."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from kinemask_chassis.device import DeviceThread

from kinemask_segmenter.engines.base import (
    EngineInfo,
    Image,
    ImageMasks,
    ObjectMask,
    Prompt,
    StreamOptions,
)
from kinemask_segmenter.engines.everything import EverythingOptions
from kinemask_segmenter.engines.prompting import check_prompts
from kinemask_segmenter.engines.sam2 import snapshot as snapshots
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy, StreamCore
from kinemask_segmenter.engines.sam2.everything import segment_everything
from kinemask_segmenter.engines.sam2.pictures import PictureSegmenter
from kinemask_segmenter.engines.sam2.pixels import to_input, to_points
from kinemask_segmenter.engines.sam2.stream import Sam2Stream
from kinemask_segmenter.engines.sam2.weights import (
    build,
    state_dict,
    verified_revision,
)

ResultT = TypeVar("ResultT")

SIZE_STEP_PX = 64
SIZES_PX = (128, 2048)
_MAX_RETAINED = 256


@dataclass(frozen=True)
class Sam2Config:
    """What an operator chooses."""

    device: str = "auto"
    """`auto`, or a torch device such as `cpu` or `cuda:1`."""
    input_size_px: int | None = None
    """Side of the square that the model sees; None: the configuration's own, 1024."""
    retained_frames: int = 4
    max_conditioning: int = 8
    fill_hole_area_px: int = 8
    cached_pictures: int = 8
    """Pictures whose embeddings are kept for a second click."""


class Sam2Engine:
    """Loads its weights at the first warm-up or use; all arithmetic runs in one thread."""

    def __init__(self, checkpoint: Checkpoint, config: Sam2Config | None = None) -> None:
        """Raises FileNotFoundError or ValueError if the file is not the one that was pinned."""
        self._checkpoint = checkpoint
        self._config = config or Sam2Config()
        self._revision = verified_revision(checkpoint)
        self._device = torch.device(_device_name(self._config.device))
        self._thread = DeviceThread(checkpoint.name)
        self._weights: Any = None
        self._models: dict[int | None, Any] = {}
        self._loading = threading.Lock()
        self._pictures = PictureSegmenter(self._config.cached_pictures)

    @property
    def info(self) -> EngineInfo:
        name = self._checkpoint.name
        retained = self._config.retained_frames
        return EngineInfo("sam2", name, self._revision[:16], str(self._device), retained, name)

    def warm_up(self) -> None:
        """Load the weights and run one frame with one object."""
        model = self._model(None)
        core = StreamCore(model, CoreConfig())
        image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        pixels = to_input(image, int(model.image_size))
        click = Prompt(1, box_xyxy=(8.0, 8.0, 40.0, 40.0))
        points = to_points(click, 64, 64, int(model.image_size)).to(self._device)
        core.say(core.add_frame(pixels), 1, points)
        core.carry(core.add_frame(pixels))

    def options(self, wished: StreamOptions) -> StreamOptions:
        """Defaults filled in.

        Raises:
            ValueError: a size, window or cap that is out of range.
        """
        config = self._config
        size = wished.input_size_px or config.input_size_px
        if size is not None and (size % SIZE_STEP_PX or not SIZES_PX[0] <= size <= SIZES_PX[1]):
            raise ValueError(
                f"input_size_px: expected a multiple of {SIZE_STEP_PX} in "
                f"{SIZES_PX[0]}..{SIZES_PX[1]}, got {size}"
            )
        retained = wished.retained_frames or config.retained_frames
        if retained > _MAX_RETAINED:
            raise ValueError(f"retained_frames: expected at most {_MAX_RETAINED}, got {retained}")
        conditioning = wished.max_conditioning or config.max_conditioning
        if conditioning < 2:
            raise ValueError(f"max_conditioning_frames: expected at least 2, got {conditioning}")
        holes = wished.fill_hole_area_px
        return StreamOptions(
            official_memory=wished.official_memory,
            fast=False,
            input_size_px=size,
            retained_frames=retained,
            max_conditioning=conditioning,
            fill_hole_area_px=config.fill_hole_area_px if holes is None else holes,
        )

    def open_stream(
        self,
        height: int,
        width: int,
        snapshot: bytes | None = None,
        options: StreamOptions | None = None,
    ) -> Sam2Stream:
        """A new stream, or one that goes on from a snapshot. Blocks while a model is loaded.

        Raises:
            ValueError: the snapshot is damaged, of another version, engine, model or frame size;
                an option out of range.
        """
        held = self.options(options or StreamOptions())
        model = self._model(held.input_size_px)
        assert held.retained_frames and held.max_conditioning
        assert held.fill_hole_area_px is not None
        policy = MemoryPolicy.OFFICIAL if held.official_memory else MemoryPolicy.EXACT
        config = CoreConfig(
            held.max_conditioning, held.retained_frames, held.fill_hole_area_px, policy
        )
        core = StreamCore(model, config)
        facts = self._facts(height, width, held)
        stream = Sam2Stream(core, self._run, facts, held.retained_frames)
        if snapshot is not None:
            position = core.memory_position()
            stream.restore(
                snapshots.decode(snapshot, facts, held.retained_frames, position, self._device)
            )
        return stream

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        """Up to 3 candidates a prompt; a second call on the same picture skips the encoder.

        Raises:
            ValueError: a bad prompt, or a number of candidates that is not 1..3.
        """
        if not 1 <= candidates <= 3:
            raise ValueError(f"expected 1..3 candidates, got {candidates}")
        for prompt in prompts:
            check_prompts([prompt], (), image.shape[0], image.shape[1])
        return await self._run(
            lambda: self._pictures.segment(self._model(None), image, prompts, candidates)
        )

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        """Every mask of the picture that is good enough, largest first."""
        return await self._run(
            lambda: segment_everything(self._pictures, self._model(None), image, options)
        )

    def close(self) -> None:
        """Let go of the models once what runs has ended."""
        self._thread.stop()
        self._pictures.clear()
        self._models.clear()
        self._weights = None

    # --- inside

    def _run(self, work: Callable[[], ResultT]) -> Awaitable[ResultT]:
        return self._thread.run(work)

    def _facts(self, height: int, width: int, held: StreamOptions) -> snapshots.StreamFacts:
        assert held.max_conditioning is not None
        return snapshots.StreamFacts(
            model=f"{self._checkpoint.name} {self._revision}",
            input_size_px=int(self._model(held.input_size_px).image_size),
            height=height,
            width=width,
            official_memory=held.official_memory,
            max_conditioning=held.max_conditioning,
        )

    def _model(self, size: int | None) -> Any:
        """The model for an input size; all sizes share one set of weights."""
        with self._loading:
            if size not in self._models:
                if self._weights is None:
                    self._weights = state_dict(self._checkpoint)
                model = build(self._checkpoint, self._weights, size)
                self._models[size] = model.to(self._device)
                self._weights = model.state_dict()
            return self._models[size]


def _device_name(wished: str) -> str:
    if wished != "auto":
        return wished
    return "cuda" if torch.cuda.is_available() else "cpu"
