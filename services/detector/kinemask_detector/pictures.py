"""One picture's way through an engine: decoded, prepared, batched, finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis.batching import DynamicBatcher
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.media import decode_image
from kinemask_chassis.metrics import QueueMetrics

from kinemask_detector.engines.registry import AnyEngine
from kinemask_detector.messages import Query, found_to_message
from kinemask_detector.settings import DetectorSettings

ArgsT = ParamSpec("ArgsT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Picture:
    """A picture that is ready for the model."""

    height: int
    width: int
    query: Query
    """What it was prepared for."""
    prepared: Any
    """The engine's own."""
    decode_s: float
    """Spent decoding and preparing."""


@dataclass(frozen=True)
class Inferred:
    """What the model said of one picture."""

    raw: Any
    """The engine's own."""
    infer_s: float
    """How long its batch took."""


class EngineRunner:
    """One engine with its thread and its batches; shared by all requests and streams."""

    def __init__(
        self,
        engine: AnyEngine,
        settings: DetectorSettings,
        executor: Executor,
        metrics: QueueMetrics | None = None,
    ) -> None:
        """`executor` runs what needs no device."""
        self.engine = engine
        self._executor = executor
        self._max_pixels = settings.max_pixels
        self._device = DeviceThread(f"detector-{engine.info.name}")
        self._batcher: DynamicBatcher[Any, Inferred] = DynamicBatcher(
            self._infer_batch,
            settings.batching(engine.info.max_batch),
            bucket=engine.bucket,
            metrics=metrics,
        )

    async def warm_up(self) -> None:
        """Pay the engine's first-call costs, in its thread."""
        await self._device.run(self.engine.warm_up)

    async def close(self) -> None:
        """Refuse what waits, end what runs, free the engine."""
        await self._batcher.close()
        await self._device.close()
        self.engine.close()

    async def decode(self, message: media_pb2.Image, field: str) -> wire.RgbImage:
        """The picture's pixels.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        return await self._off_loop(decode_image, message, self._max_pixels, field)

    async def prepare(self, image: wire.RgbImage, query: Query) -> Picture:
        """Ready a decoded picture for the model."""
        return await self._off_loop(self._prepare, image, query, time.monotonic())

    async def read(self, message: media_pb2.Image, query: Query, field: str) -> Picture:
        """Decode and prepare in one go, so that the pixels are let go at once.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        return await self._off_loop(self._read, message, query, field)

    async def infer(self, picture: Picture) -> Inferred:
        """Through the model, in a batch with others.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED (queue full), DEADLINE_EXCEEDED, UNAVAILABLE.
        """
        return await self._batcher.submit(picture.prepared)

    async def finish(self, picture: Picture, inferred: Inferred) -> detector_pb2.ImageDetections:
        """The result message without its timing."""
        return await self._off_loop(self._finish, picture, inferred)

    async def _off_loop(
        self, work: Callable[ArgsT, ValueT], *args: ArgsT.args, **kwargs: ArgsT.kwargs
    ) -> ValueT:
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def _infer_batch(self, batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
        begun_s = time.monotonic()
        results = await self._device.run(self.engine.infer, batch)
        took_s = time.monotonic() - begun_s
        return [raw if isinstance(raw, Exception) else Inferred(raw, took_s) for raw in results]

    # --- in threads

    def _read(self, message: media_pb2.Image, query: Query, field: str) -> Picture:
        begun_s = time.monotonic()
        return self._prepare(decode_image(message, self._max_pixels, field), query, begun_s)

    def _prepare(self, image: wire.RgbImage, query: Query, begun_s: float) -> Picture:
        prepared = self.engine.preprocess(query.about(image))
        height, width = image.shape[:2]
        return Picture(height, width, query, prepared, time.monotonic() - begun_s)

    def _finish(self, picture: Picture, inferred: Inferred) -> detector_pb2.ImageDetections:
        found = self.engine.postprocess(picture.prepared, inferred.raw)
        return found_to_message(found, picture.height, picture.width)
