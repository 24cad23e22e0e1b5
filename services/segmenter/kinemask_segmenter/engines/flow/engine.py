"""The flow engine: segmentation without weights, on a CPU."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from kinemask_segmenter.engines.base import (
    EngineInfo,
    Image,
    ImageMasks,
    ObjectMask,
    Prompt,
    StreamOptions,
)
from kinemask_segmenter.engines.everything import EverythingOptions
from kinemask_segmenter.engines.flow import snapshot as snapshots
from kinemask_segmenter.engines.flow.config import FlowConfig
from kinemask_segmenter.engines.flow.memory import reuse_freed_memory
from kinemask_segmenter.engines.flow.motion import Motion, backward_flow
from kinemask_segmenter.engines.flow.objects import start
from kinemask_segmenter.engines.flow.pixels import Geometry, WorkFrame, to_lab
from kinemask_segmenter.engines.flow.proposals import propose
from kinemask_segmenter.engines.flow.stream import FlowStream
from kinemask_segmenter.engines.prompting import check_image

# What it learns from a prompt it cannot forget: no clear_frame.
EDITS = ("prompt", "remove", "clear", "propagate", "stop")


class FlowEngine:
    """Serves any number of streams from one pool of threads.

    Making one limits the process's BLAS to one thread and lets its allocator keep freed arrays.
    """

    def __init__(self, config: FlowConfig | None = None, threads: int | None = None) -> None:
        """`threads` is how many streams compute at once; the number of cores if not given.

        Raises:
            ValueError: fewer than one thread.
        """
        count = threads if threads is not None else os.cpu_count() or 1
        if count < 1:
            raise ValueError(f"expected at least one thread, got {count}")
        # The products here are small: BLAS threads that wait for each other would burn four times
        # the processor time, and take the cores from the streams beside this one.
        threadpool_limits(limits=1, user_api="blas")
        reuse_freed_memory()
        self._config = config or FlowConfig()
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="flow")

    @property
    def info(self) -> EngineInfo:
        """Names this engine in every stream's first reply."""
        retained = self._config.retained_frames
        return EngineInfo("flow", "flow", "builtin", "cpu", retained, "flow", EDITS)

    def warm_up(self) -> None:
        """Run every stage once on a small synthetic video."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        geometry = Geometry.of(96, 128, self._config)
        frame = WorkFrame.of(to_lab(image, geometry), geometry)
        item = start(0, frame, Prompt(1, box_xyxy=(30, 30, 80, 70)), geometry, self._config)
        flow = backward_flow(frame.flow_grey, frame.flow_grey)
        item.advance(frame, Motion.of(flow, geometry), self._config)

    def options(self, wished: StreamOptions) -> StreamOptions:
        """What is retained; nothing else means anything here.

        Raises:
            ValueError: more frames than a stream may retain.
        """
        retained = wished.retained_frames or self._config.retained_frames
        most = max(self._config.retained_frames, self._config.max_retained_frames)
        if retained > most:
            raise ValueError(f"retained_frames: expected at most {most}, got {retained}")
        return StreamOptions(retained_frames=retained)

    def open_stream(
        self,
        height: int,
        width: int,
        snapshot: bytes | None = None,
        options: StreamOptions | None = None,
    ) -> FlowStream:
        """A new stream, or one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is damaged, of another version, engine or frame size; an
                option out of range.
        """
        held = self.options(options or StreamOptions())
        assert held.retained_frames is not None
        config = replace(self._config, retained_frames=held.retained_frames)
        geometry = Geometry.of(height, width, config)
        state = None if snapshot is None else snapshots.decode(snapshot, geometry)
        return FlowStream(geometry, config, self._executor, snapshots.encode, state)

    async def segment_image(
        self, image: Image, prompts: Sequence[Prompt], candidates: int
    ) -> ImageMasks:
        """Up to `candidates` masks per prompt, best first.

        Raises:
            ValueError: a bad prompt or image, or fewer than one candidate.
        """
        if candidates < 1:
            raise ValueError(f"expected at least one candidate, got {candidates}")
        if image.ndim != 3:
            raise ValueError(f"expected an image (H, W, 3), got shape {image.shape}")
        geometry = Geometry.of(image.shape[0], image.shape[1], self._config)
        check_image(image, geometry.height, geometry.width)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._executor, propose, image, prompts, candidates, geometry
        )
        return ImageMasks(found)

    async def segment_everything(
        self, image: Image, options: EverythingOptions
    ) -> list[ObjectMask]:
        """Raises NotImplementedError: without a model nothing says what is a thing."""
        raise NotImplementedError("the flow engine segments what is prompted")

    def close(self) -> None:
        """Stop the threads once they have finished what they do."""
        self._executor.shutdown(wait=False, cancel_futures=True)
