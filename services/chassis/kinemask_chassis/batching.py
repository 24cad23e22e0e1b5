"""Puts requests of many clients into one batch for the model.

`submit` waits for one item's result; a single task takes batches from a `BatchQueue` and runs
them, one at a time, so that whatever comes in meanwhile makes up the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors
from kinemask_chassis.batch_queue import BatchQueue
from kinemask_chassis.metrics import QueueMetrics

In = TypeVar("In")
Out = TypeVar("Out")

RunBatch = Callable[[Sequence[In]], Awaitable[Sequence[Out | Exception]]]
"""One result or exception for each item, in order. If it raises, each item is tried alone."""

_SMOOTHING = 0.2
# What waiting may cost, as a share of the batch's time: a second batch would cost more.
_REGULARS_SHARE = 0.5


@dataclass(frozen=True)
class BatchOptions:
    """How batches are made."""

    max_batch: int = 8
    """Items in one batch at most: at least 1."""
    max_delay_ms: float = 5.0
    """How long an item may wait for others while the model is idle."""
    max_queue: int = 64
    """Items that may wait, over all buckets; further ones are refused."""
    regulars_ms: float = 0.0
    """How long the model may idle after a batch, and after each item that comes then, for callers
    who got their answers and ask again. It waits until there are as many items as were under way at
    once before, so that clients in a loop keep sharing batches; at most half a batch's time."""

    def __post_init__(self) -> None:
        if min(self.max_batch, self.max_queue) < 1 or min(self.max_delay_ms, self.regulars_ms) < 0:
            raise ValueError(
                "expected max_batch >= 1, max_queue >= 1, max_delay_ms >= 0 and regulars_ms >= 0, "
                f"got {self}"
            )


@dataclass(eq=False)
class _Item(Generic[In, Out]):
    """One submitted item. Its future is done once it has left, whichever way."""

    value: In
    future: asyncio.Future[Out]
    deadline_s: float
    taken: bool = False


def _one_bucket(item: object) -> Hashable:
    return None


class DynamicBatcher(Generic[In, Out]):
    """Batches items of one bucket; oldest first over buckets, in order within one.

    Invariants: every submitted item's future ends exactly once; an item that is cancelled or
    expired while it waits never reaches `run_batch`; at most one batch runs at a time.
    """

    def __init__(
        self,
        run_batch: RunBatch[In, Out],
        options: BatchOptions = BatchOptions(),
        *,
        bucket: Callable[[In], Hashable] = _one_bucket,
        metrics: QueueMetrics | None = None,
    ) -> None:
        """`bucket` tells which items may share a batch, such as by an image's shape."""
        self._run_batch = run_batch
        self._options = options
        self._bucket = bucket
        self._metrics = metrics
        self._queue: BatchQueue[_Item[In, Out]] = BatchQueue(
            options.max_batch, options.max_delay_ms / 1e3
        )
        self._worker: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._batch_s = 0.0
        self._running = 0
        self._under_way = 0
        """Most items that waited or ran at once since the last batch began."""
        self._closed = False

    async def submit(self, item: In, deadline_s: float | None = None) -> Out:
        """Wait for the item's result.

        Args:
            item: what `run_batch` takes one of.
            deadline_s: on the clock of `time.monotonic()`; by default that of the rpc being served.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED with RetryInfo if the queue is full,
                DEADLINE_EXCEEDED if the item expired while it waited, UNAVAILABLE on shutdown.
            Exception: what the batch function gave for this item.
        """
        entry = self._admit(item, deadline_s)
        loop = asyncio.get_running_loop()
        expiry = None
        if math.isfinite(entry.deadline_s):
            delay_s = max(entry.deadline_s - time.monotonic(), 0.0)
            expiry = loop.call_later(delay_s, self._expire, entry)
        try:
            return await entry.future
        finally:
            if expiry is not None:
                expiry.cancel()
            self._withdraw(entry)

    async def close(self) -> None:
        """Refuse what waits, let the running batch end. Idempotent."""
        self._closed = True
        self._wake.set()
        for entry in self._queue.clear():
            _fail(entry, errors.unavailable("shutting down", reason="SHUTTING_DOWN"))
        self._show_depth()
        if self._worker is not None:
            await asyncio.wait((self._worker,))

    @property
    def depth(self) -> int:
        """Items that wait."""
        return len(self._queue)

    def _admit(self, item: In, deadline_s: float | None) -> _Item[In, Out]:
        if self._closed:
            raise errors.unavailable("shutting down", reason="SHUTTING_DOWN")
        wanted = rpc_context.deadline_s() if deadline_s is None else deadline_s
        now_s = time.monotonic()
        if wanted is not None and wanted <= now_s:
            raise _expired()
        if len(self._queue) >= self._options.max_queue:
            raise self._full()
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        entry = _Item(item, future, math.inf if wanted is None else wanted)
        self._queue.add(self._bucket(item), entry, now_s)
        self._under_way = max(self._under_way, self._running + len(self._queue))
        self._show_depth()
        self._wake.set()
        if self._worker is None or self._worker.done():
            # An empty context: the worker belongs to no rpc.
            self._worker = asyncio.get_running_loop().create_task(
                self._work(), context=contextvars.Context()
            )
        return entry

    async def _work(self) -> None:
        """Take batches and run them until the batcher is closed."""
        while not self._closed:
            batch = self._queue.take(time.monotonic())
            if batch:
                await self._run_taken(batch)
            else:
                await self._wait_for_more()

    async def _run_taken(self, batch: list[_Item[In, Out]]) -> None:
        """Run a batch, then the one of those who come again at once, and so on."""
        while batch:
            for entry in batch:
                entry.taken = True
            self._show_depth()
            self._running = len(batch)
            self._under_way = self._running + len(self._queue)
            began_s = time.monotonic()
            await self._run(batch)
            self._running = 0
            batch = await self._regulars(time.monotonic() - began_s)

    async def _regulars(self, took_s: float) -> list[_Item[In, Out]]:
        """The next batch, once as many items wait as were under way at once; else nothing."""
        until_s = time.monotonic() + _REGULARS_SHARE * took_s
        expected = min(self._under_way, self._options.max_batch)
        while self._options.regulars_ms and not self._closed:
            waiting = len(self._queue)
            if waiting >= expected:
                return self._queue.take(math.inf)
            left_s = until_s - time.monotonic()
            await self._wait_for_wake(max(min(left_s, self._options.regulars_ms / 1e3), 0.0))
            if left_s <= 0 or len(self._queue) <= waiting:
                break
        return []

    async def _wait_for_more(self) -> None:
        """Until something changes, or the oldest item has waited long enough."""
        due_s = self._queue.due_s()
        await self._wait_for_wake(None if due_s is None else max(due_s - time.monotonic(), 0.0))

    async def _wait_for_wake(self, wait_s: float | None) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _run(self, batch: list[_Item[In, Out]]) -> None:
        """Run a batch; if it fails as a whole, each item alone, so that only a bad one fails."""
        batch = _still_wanted(batch)
        if not batch:
            return
        try:
            results = await self._timed(batch)
        except asyncio.CancelledError:
            gone = errors.unavailable("the batch was cancelled", reason="BATCH_CANCELLED")
            for entry in batch:
                _fail(entry, gone)
            if _is_cancelled():
                raise
            return
        except Exception as error:  # noqa: BLE001 - what the model raises belongs to the callers
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for entry in batch:
                await self._run([entry])
            return
        for entry, result in zip(batch, results, strict=True):
            _settle(entry, result)

    async def _timed(self, batch: list[_Item[In, Out]]) -> Sequence[Out | Exception]:
        started_s = time.monotonic()
        results = await self._run_batch([entry.value for entry in batch])
        took_s = time.monotonic() - started_s
        weight = _SMOOTHING if self._batch_s else 1.0
        self._batch_s += weight * (took_s - self._batch_s)
        if self._metrics is not None:
            self._metrics.batch_size.observe(len(batch))
            self._metrics.batch_seconds.observe(took_s)
        if len(results) != len(batch):
            raise RuntimeError(f"expected {len(batch)} results of a batch, got {len(results)}")
        return results

    def _expire(self, entry: _Item[In, Out]) -> None:
        """The deadline came. An item that a batch has taken may still get its result."""
        if not entry.taken:
            self._withdraw(entry)
            _fail(entry, _expired())

    def _withdraw(self, entry: _Item[In, Out]) -> None:
        """Free the place of an item that nobody waits for."""
        if not entry.taken and self._queue.remove(entry):
            self._show_depth()

    def _full(self) -> errors.ServiceError:
        batches_ahead = math.ceil(len(self._queue) / self._options.max_batch)
        retry_after_s = max(self._batch_s * batches_ahead, self._options.max_delay_ms / 1e3)
        return errors.exhausted(
            f"the queue is full: {len(self._queue)} requests wait", "QUEUE_FULL", retry_after_s
        )

    def _show_depth(self) -> None:
        if self._metrics is not None:
            self._metrics.depth.set(len(self._queue))


def _still_wanted(batch: list[_Item[In, Out]]) -> list[_Item[In, Out]]:
    """Without those that were cancelled or expired meanwhile; the expired ones hear of it."""
    now_s = time.monotonic()
    for entry in batch:
        if entry.deadline_s <= now_s:
            _fail(entry, _expired())
    return [entry for entry in batch if not entry.future.done()]


def _settle(entry: _Item[In, Out], result: Out | Exception) -> None:
    if isinstance(result, Exception):
        _fail(entry, result)
    elif not entry.future.done():
        entry.future.set_result(result)


def _fail(entry: _Item[In, Out], error: Exception) -> None:
    if entry.future.done():
        return
    # A future refuses StopIteration, and the worker must not die of it.
    wrong = RuntimeError(f"{error!r}") if isinstance(error, StopIteration) else error
    entry.future.set_exception(wrong)


def _is_cancelled() -> bool:
    """Whether the worker itself was cancelled, not merely something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _expired() -> errors.ServiceError:
    return errors.deadline_exceeded("the deadline passed before the work began")
