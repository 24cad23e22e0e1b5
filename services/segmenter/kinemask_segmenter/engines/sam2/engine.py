"""The SAM 2 engine: one checkpoint, any number of streams and pictures, one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

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
from kinemask_segmenter.engines.sam2.buckets import CompileOptions
from kinemask_segmenter.engines.sam2.checkpoints import Checkpoint
from kinemask_segmenter.engines.sam2.compiled import compiled_or_why
from kinemask_segmenter.engines.sam2.core import CoreConfig, MemoryPolicy, StreamCore
from kinemask_segmenter.engines.sam2.everything import segment_everything
from kinemask_segmenter.engines.sam2.forward import Forward
from kinemask_segmenter.engines.sam2.models import PRECISIONS, Models
from kinemask_segmenter.engines.sam2.pictures import PictureSegmenter
from kinemask_segmenter.engines.sam2.pixels import to_input, to_points
from kinemask_segmenter.engines.sam2.scheduler import Scheduler
from kinemask_segmenter.engines.sam2.stream import Sam2Stream
from kinemask_segmenter.engines.sam2.weights import verified_revision
from kinemask_segmenter.engines.sam2.work import Call, Work, alone

ResultT = TypeVar("ResultT")

SIZE_STEP_PX = 64
SIZES_PX = (128, 2048)
EDITS = ("prompt", "remove", "clear", "propagate", "clear_frame", "stop")
_NEAR_FRAMES = 16
"""Retained frames that stay on a GPU where the others are in host memory: tracking reads what was
found on as many."""


@dataclass(frozen=True)
class Sam2Config:
    """What an operator chooses."""

    device: str = "auto"
    """`auto`, or a torch device such as `cpu` or `cuda:1`."""
    input_size_px: int | None = None
    """Side of the square that the model sees; None: the configuration's own, 1024."""
    retained_frames: int = 4
    max_retained_frames: int = 256
    """What a stream may ask for."""
    device_frames: int = 64
    """Retained frames from which on a stream keeps older ones in host memory, on a GPU."""
    max_conditioning: int = 8
    fill_hole_area_px: int = 8
    cached_pictures: int = 8
    """Pictures whose embeddings are kept for a second click."""
    tier: str = "exact"
    """What a stream gets that asks for no tier: `exact` or `fast`."""
    precision: str = "fp32"
    """Of the fast tier: `fp32` or `bf16`."""
    compiled: CompileOptions | None = None
    """Compile the fast tier at the first warm-up; None: do not."""
    max_batch: int | None = None
    """Streams that run side by side; None: 16 on a GPU, 4 elsewhere: only small models gain."""


class Sam2Engine:
    """Loads its weights at the first warm-up or use; all arithmetic runs in one thread."""

    def __init__(self, checkpoint: Checkpoint, config: Sam2Config | None = None) -> None:
        """Raises FileNotFoundError or ValueError if the file is not the one that was pinned."""
        self._checkpoint = checkpoint
        self._config = config or Sam2Config()
        self._revision = verified_revision(checkpoint)
        if self._config.precision not in PRECISIONS:
            raise ValueError(f"expected a precision of {list(PRECISIONS)}, got {self._config}")
        self._device = torch.device(_device_name(self._config.device))
        side_by_side = self._config.max_batch or (16 if self._device.type == "cuda" else 4)
        self._scheduler = Scheduler(checkpoint.name, side_by_side)
        self._models = Models(checkpoint, self._device, self._config.precision)
        self._pictures = PictureSegmenter(self._config.cached_pictures)
        self._compiled: Forward | None = None
        self._notice = ""

    @property
    def info(self) -> EngineInfo:
        name = self._checkpoint.name
        retained = self._config.retained_frames
        return EngineInfo(
            "sam2",
            name,
            self._revision[:16],
            str(self._device),
            retained,
            name,
            EDITS,
            self._notice,
        )

    def warm_up(self) -> None:
        """Load the weights, compile where that is asked for, run one frame with one object."""
        if self._config.compiled is not None and not self._notice:
            eager = self._models.forward(self._config.input_size_px, True)
            self._compiled, self._notice = compiled_or_why(
                eager,
                self._config.compiled,
                lambda warm_up: self._scheduler.lane().run_now(_call(warm_up)),
            )
        forward = self._forward(self._config.input_size_px, self._config.tier == "fast")
        core = StreamCore(forward)
        image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        pixels = to_input(image, forward.input_size_px)
        click = Prompt(1, box_xyxy=(8.0, 8.0, 40.0, 40.0))
        points = to_points(click, 64, 64, forward.input_size_px).to(self._device)
        alone(core.say(alone(core.see(pixels)), 1, points))
        alone(core.carry(alone(core.see(pixels))))

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
        if retained > config.max_retained_frames:
            raise ValueError(
                f"retained_frames: expected at most {config.max_retained_frames}, got {retained}"
            )
        conditioning = wished.max_conditioning or config.max_conditioning
        if conditioning < 2:
            raise ValueError(f"max_conditioning_frames: expected at least 2, got {conditioning}")
        holes = wished.fill_hole_area_px
        return StreamOptions(
            official_memory=wished.official_memory,
            fast=config.tier == "fast" if wished.fast is None else wished.fast,
            input_size_px=size,
            retained_frames=retained,
            max_conditioning=conditioning,
            fill_hole_area_px=config.fill_hole_area_px if holes is None else holes,
            # On a CPU they are in host memory in any case.
            offload_retained=self._device.type != "cpu"
            and (wished.offload_retained or retained > config.device_frames),
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
        assert held.retained_frames and held.max_conditioning
        assert held.fill_hole_area_px is not None
        forward = self._forward(held.input_size_px, bool(held.fast))
        policy = MemoryPolicy.OFFICIAL if held.official_memory else MemoryPolicy.EXACT
        config = CoreConfig(
            held.max_conditioning,
            held.retained_frames,
            held.fill_hole_area_px,
            policy,
            _NEAR_FRAMES if held.offload_retained else None,
        )
        facts = self._facts(height, width, held)
        core, lane = StreamCore(forward, config), self._scheduler.lane()
        stream = Sam2Stream(core, lane, facts)
        if snapshot is not None:
            saved = snapshots.decode(snapshot, facts, held.retained_frames, self._device)
            stream.restore(saved)
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
        masks: ImageMasks = await self._scheduler.lane().run(
            _call(
                lambda: self._pictures.segment(self._models.model(None), image, prompts, candidates)
            )
        )
        return masks

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        """Every mask of the picture that is good enough, largest first."""
        lane = self._scheduler.lane()
        return await segment_everything(
            lambda function: lane.run(_call(function)),
            self._pictures,
            lambda: self._models.model(None),
            image,
            options,
        )

    def close(self) -> None:
        """Let go of the models once what runs has ended."""
        self._scheduler.stop()
        self._pictures.clear()
        self._models.clear()
        self._compiled = None

    # --- inside

    def _forward(self, size: int | None, fast: bool) -> Forward:
        """The arithmetic of a stream; compiled where it is of the size and tier that was."""
        compiled = fast and size == self._config.input_size_px
        return (self._compiled if compiled else None) or self._models.forward(size, fast)

    def _facts(self, height: int, width: int, held: StreamOptions) -> snapshots.StreamFacts:
        assert held.max_conditioning is not None
        return snapshots.StreamFacts(
            model=f"{self._checkpoint.name} {self._revision}",
            input_size_px=int(self._models.model(held.input_size_px).image_size),
            height=height,
            width=width,
            official_memory=held.official_memory,
            max_conditioning=held.max_conditioning,
        )


def _call(function: Callable[[], ResultT]) -> Work[ResultT]:
    result: ResultT = yield Call(function)
    return result


def _device_name(wished: str) -> str:
    if wished != "auto":
        return wished
    return "cuda" if torch.cuda.is_available() else "cpu"
