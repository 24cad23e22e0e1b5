"""One picture's way to its caption: decoded, prepared, batched with others, put into words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from kinemask import wire
from kinemask.v1 import media_pb2
from kinemask_chassis import errors
from kinemask_chassis.batching import DynamicBatcher
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.media import decode_image
from kinemask_chassis.metrics import QueueMetrics
from kinemask_chassis.weights.residency import Residency

from kinemask_captioner.engines.base import BadQueryError, Caption, CaptionQuery
from kinemask_captioner.engines.registry import AnyEngine
from kinemask_captioner.settings import CaptionerSettings

ArgsT = ParamSpec("ArgsT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Work:
    """A picture that is ready for its model."""

    engine: AnyEngine
    prepared: Any
    """The engine's own."""
    decode_s: float
    """Spent decoding and preparing."""

    @property
    def bucket(self) -> Hashable:
        """Pictures of one bucket may share a batch."""
        return self.engine.info.name, self.engine.bucket(self.prepared)


@dataclass(frozen=True)
class Inferred:
    """What the model said of one picture."""

    raw: Any
    """The engine's own."""
    infer_s: float
    """How long its batch took."""


class CaptionRunner:
    """The device with its thread, its models and its one queue; shared by all requests.

    One queue for all models, so that a batch is taken only when the device is free for it: until
    then whoever cancels or runs out of time costs the device nothing.
    """

    def __init__(
        self,
        settings: CaptionerSettings,
        executor: Executor,
        metrics: QueueMetrics | None = None,
    ) -> None:
        """`executor` runs what needs no device."""
        self._executor = executor
        self._max_pixels = settings.max_pixels
        self._device = DeviceThread("captioner-device")
        self._residency = Residency(settings.memory_bytes, "KINEMASK_CAPTIONER_MEMORY_MIB")
        self._batcher: DynamicBatcher[Work, Inferred] = DynamicBatcher(
            self._infer_batch, settings.batching, bucket=lambda work: work.bucket, metrics=metrics
        )

    async def warm_up(self, engine: AnyEngine) -> None:
        """Load a model and pay its first-call costs, in the device's thread."""
        await self._device.run(self._warm_up, engine)

    async def close(self) -> None:
        """Refuse what waits, end what runs, free the models."""
        await self._batcher.close()
        await self._device.close()
        self._residency.clear()

    async def check(self, engine: AnyEngine, query: CaptionQuery) -> None:
        """Refuse a query before any picture is looked at.

        Raises:
            ServiceError: INVALID_ARGUMENT: the model cannot do that.
        """
        try:
            await self._off_loop(engine.check, query)
        except BadQueryError as error:
            raise errors.invalid(f"options.{error.field}", str(error)) from error

    async def read(
        self, message: media_pb2.Image, engine: AnyEngine, query: CaptionQuery, field: str
    ) -> Work:
        """Decode and prepare in one go, so that the pixels are let go at once.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        return await self._off_loop(self._read, message, engine, query, field)

    async def infer(self, work: Work) -> Inferred:
        """Through the model, in a batch with others.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED (queue full), DEADLINE_EXCEEDED, UNAVAILABLE;
                FAILED_PRECONDITION: the model does not fit into memory.
        """
        return await self._batcher.submit(work)

    async def finish(self, work: Work, inferred: Inferred) -> Caption:
        """The words."""
        return await self._off_loop(work.engine.postprocess, work.prepared, inferred.raw)

    async def _off_loop(
        self, call: Callable[ArgsT, ValueT], *args: ArgsT.args, **kwargs: ArgsT.kwargs
    ) -> ValueT:
        bound = partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, bound)

    async def _infer_batch(self, batch: Sequence[Work]) -> Sequence[Inferred | Exception]:
        engine = batch[0].engine
        results, took_s = await self._device.run(self._infer, engine, [w.prepared for w in batch])
        return [raw if isinstance(raw, Exception) else Inferred(raw, took_s) for raw in results]

    # --- in threads

    def _warm_up(self, engine: AnyEngine) -> None:
        self._residency.hold(engine)
        engine.warm_up()

    def _infer(
        self, engine: AnyEngine, prepared: Sequence[Any]
    ) -> tuple[Sequence[Any | Exception], float]:
        """The results, and the seconds the model took, without what loading it did."""
        self._residency.hold(engine)
        begun_s = time.monotonic()
        results = engine.infer(prepared)
        return results, time.monotonic() - begun_s

    def _read(
        self, message: media_pb2.Image, engine: AnyEngine, query: CaptionQuery, field: str
    ) -> Work:
        begun_s = time.monotonic()
        image: wire.RgbImage = decode_image(message, self._max_pixels, field)
        prepared = engine.preprocess(image, query)
        return Work(engine, prepared, time.monotonic() - begun_s)
