"""A device: its thread, its one queue of pictures, and the models in its memory."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from kinemask_chassis.batching import BatchOptions, DynamicBatcher
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.metrics import QueueMetrics
from kinemask_chassis.weights.residency import Loadable, Residency

from kinemask_detector.engines.registry import AnyEngine


@dataclass(frozen=True)
class Inferred:
    """What the model said of one picture."""

    raw: Any
    """The engine's own."""
    infer_s: float
    """How long its batch took, without loading the model."""


@dataclass(frozen=True)
class _Work:
    """A picture that is ready for its model."""

    engine: AnyEngine
    prepared: Any
    """The engine's own."""

    @property
    def bucket(self) -> Hashable:
        return self.engine.info.name, self.engine.bucket(self.prepared)


class EngineDevice:
    """Runs the engines that share it, in batches.

    One queue for all of them, so that a batch is taken only when the device is free for it: until
    then whoever cancels or runs out of time costs the device nothing.
    """

    def __init__(
        self,
        name: str,
        batching: BatchOptions,
        metrics: QueueMetrics | None = None,
        residency: Residency | None = None,
    ) -> None:
        """`residency` loads engines that are `Loadable`; without it there must be none."""
        self._thread = DeviceThread(f"detector-{name}")
        self._residency = residency
        self._batcher: DynamicBatcher[_Work, Inferred] = DynamicBatcher(
            self._infer_batch, batching, bucket=lambda work: work.bucket, metrics=metrics
        )

    async def warm_up(self, engine: AnyEngine) -> None:
        """Load the engine and pay its first-call costs, in the device's thread."""
        await self._thread.run(self._warm_up, engine)

    async def infer(self, engine: AnyEngine, prepared: Any) -> Inferred:
        """One picture through its model, in a batch with others.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED (queue full), DEADLINE_EXCEEDED, UNAVAILABLE;
                FAILED_PRECONDITION: the model does not fit into memory.
        """
        return await self._batcher.submit(_Work(engine, prepared))

    async def close(self) -> None:
        """Refuse what waits, end what runs, unload."""
        await self._batcher.close()
        await self._thread.close()
        if self._residency is not None:
            self._residency.clear()

    async def _infer_batch(self, batch: Sequence[_Work]) -> Sequence[Inferred | Exception]:
        engine, prepared = batch[0].engine, [work.prepared for work in batch]
        results, took_s = await self._thread.run(self._infer, engine, prepared)
        return [raw if isinstance(raw, Exception) else Inferred(raw, took_s) for raw in results]

    # --- in the device's thread

    def _warm_up(self, engine: AnyEngine) -> None:
        self._load(engine)
        engine.warm_up()

    def _infer(self, engine: AnyEngine, prepared: Sequence[Any]) -> tuple[list[Any], float]:
        self._load(engine)
        begun_s = time.monotonic()
        results: list[Any] = []
        for begin in range(0, len(prepared), engine.info.max_batch):
            results += engine.infer(prepared[begin : begin + engine.info.max_batch])
        return results, time.monotonic() - begun_s

    def _load(self, engine: AnyEngine) -> None:
        if self._residency is not None and isinstance(engine, Loadable):
            self._residency.hold(engine)
