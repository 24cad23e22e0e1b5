"""The batcher: what goes into a batch, what never reaches the model, who gets which error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemask_chassis import batching
from kinemask_chassis import context as rpc_context
from kinemask_chassis.batch_queue import BatchQueue
from kinemask_chassis.batching import BatchOptions, DynamicBatcher
from kinemask_chassis.errors import ServiceError
from kinemask_chassis.metrics import ServiceMetrics

LONG_MS = 600_000.0
"""A delay no test lives to see."""
EAGER = BatchOptions(max_batch=4, max_delay_ms=0, max_queue=100)


@dataclass
class Model:
    """Doubles numbers; remembers its batches; can be held, and fails as it is told."""

    batches: list[list[int]] = field(default_factory=list)
    running: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    may_run: asyncio.Event = field(default_factory=asyncio.Event)
    poison: set[int] = field(default_factory=set)
    bad_items: set[int] = field(default_factory=set)
    too_short: bool = False

    def __post_init__(self) -> None:
        self.may_run.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.running.release()
        await self.may_run.wait()
        if self.poison & set(items):
            raise ValueError(f"cannot take {sorted(self.poison & set(items))}")
        results = [_double(item, self.bad_items) for item in items]
        return results[:-1] if self.too_short else results


def _double(item: int, bad: set[int]) -> int | Exception:
    return KeyError(item) if item in bad else item * 2


def _submit(batcher: DynamicBatcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(item)) for item in items]


async def _held(options: BatchOptions = EAGER) -> tuple[Model, DynamicBatcher[int, int]]:
    """A batcher whose model is busy with item 0 until `may_run` is set."""
    model = Model()
    model.may_run.clear()
    batcher = DynamicBatcher[int, int](model, options)
    _submit(batcher, 0)
    await model.running.acquire()
    return model, batcher


async def _settled() -> None:
    """Enough turns of the loop for tasks to reach what they wait for."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    model = Model()
    batcher = DynamicBatcher[int, int](model, BatchOptions(max_batch=3, max_delay_ms=LONG_MS))
    assert await asyncio.gather(*_submit(batcher, 1, 2, 3)) == [2, 4, 6]
    assert model.batches == [[1, 2, 3]]


async def test_a_lone_item_goes_after_the_delay() -> None:
    model = Model()
    batcher = DynamicBatcher[int, int](model, BatchOptions(max_batch=3, max_delay_ms=1))
    assert await batcher.submit(1) == 2


async def test_items_that_come_during_a_batch_make_up_the_next_ones() -> None:
    model, batcher = await _held()
    waiting = _submit(batcher, 1, 2, 3, 4, 5)
    await _settled()
    assert batcher.depth == 5
    model.may_run.set()
    assert await asyncio.gather(*waiting) == [2, 4, 6, 8, 10]
    assert model.batches == [[0], [1, 2, 3, 4], [5]]


async def test_buckets_are_not_mixed_and_the_oldest_goes_first() -> None:
    model = Model()
    batcher = DynamicBatcher[int, int](model, EAGER, bucket=lambda item: item % 2)
    await asyncio.gather(*_submit(batcher, 1, 2, 3, 4, 6, 5))
    assert model.batches == [[1, 3, 5], [2, 4, 6]]


async def test_an_item_that_fails_by_itself_leaves_the_others_alone() -> None:
    model = Model(bad_items={2})
    batcher = DynamicBatcher[int, int](model, EAGER)
    results = await asyncio.gather(*_submit(batcher, 1, 2, 3), return_exceptions=True)
    assert results[0] == 2 and isinstance(results[1], KeyError) and results[2] == 6
    assert model.batches == [[1, 2, 3]]


async def test_a_poisoned_item_fails_alone() -> None:
    model = Model(poison={2})
    batcher = DynamicBatcher[int, int](model, EAGER)
    results = await asyncio.gather(*_submit(batcher, 1, 2, 3), return_exceptions=True)
    assert results[0] == 2 and isinstance(results[1], ValueError) and results[2] == 6
    assert model.batches == [[1, 2, 3], [1], [2], [3]]


async def test_a_model_that_answers_too_few_fails_its_items_and_lives_on() -> None:
    model = Model(too_short=True)
    batcher = DynamicBatcher[int, int](model, EAGER)
    with pytest.raises(RuntimeError, match="expected 1 results of a batch, got 0"):
        await batcher.submit(1)
    model.too_short = False
    assert await batcher.submit(2) == 4


async def test_stop_iteration_of_one_item_does_not_kill_the_worker() -> None:
    async def run(items: Sequence[int]) -> Sequence[int | Exception]:
        return [StopIteration() if item == 1 else item for item in items]

    batcher = DynamicBatcher[int, int](run, EAGER)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await batcher.submit(1)
    assert await batcher.submit(2) == 2


async def test_a_batch_that_is_cancelled_from_inside_fails_its_items() -> None:
    async def run(items: Sequence[int]) -> Sequence[int | Exception]:
        raise asyncio.CancelledError

    batcher = DynamicBatcher[int, int](run, EAGER)
    with pytest.raises(ServiceError, match="cancelled"):
        await batcher.submit(1)


async def test_a_cancelled_item_frees_its_place_and_never_reaches_the_model() -> None:
    model, batcher = await _held()
    first, second = _submit(batcher, 1, 2)
    await _settled()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert batcher.depth == 1
    model.may_run.set()
    assert await second == 4
    assert model.batches == [[0], [2]]


async def test_an_item_cancelled_while_it_runs_does_not_disturb_its_batch() -> None:
    model, batcher = await _held()
    first, second = _submit(batcher, 1, 2)
    await _settled()
    model.may_run.set()
    await model.running.acquire()
    first.cancel()
    assert await second == 4
    assert first.cancelled() or await first == 2


async def test_an_item_that_expires_in_the_queue_hears_of_it_at_once() -> None:
    model, batcher = await _held()
    with pytest.raises(ServiceError) as caught:  # while the model still holds the first batch
        await batcher.submit(1, deadline_s=time.monotonic() + 0.01)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert batcher.depth == 0
    model.may_run.set()
    assert await batcher.submit(2) == 4
    assert model.batches == [[0], [2]]


async def test_an_expired_item_is_not_even_queued() -> None:
    model = Model()
    batcher = DynamicBatcher[int, int](model, EAGER)
    rpc_context.set_deadline_s(time.monotonic() - 1)  # the deadline of the rpc being served
    with pytest.raises(ServiceError, match="deadline"):
        await batcher.submit(1)
    assert model.batches == []


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    model, batcher = await _held(BatchOptions(max_batch=1, max_delay_ms=2, max_queue=2))
    waiting = _submit(batcher, 1, 2)
    await _settled()
    with pytest.raises(ServiceError) as caught:
        await batcher.submit(3)
    assert (caught.value.code, caught.value.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "QUEUE_FULL",
    )
    assert caught.value.retry_after_s is not None and caught.value.retry_after_s >= 0.002
    model.may_run.set()
    assert await asyncio.gather(*waiting) == [2, 4]


REGULARS = BatchOptions(max_batch=8, max_delay_ms=0, regulars_ms=LONG_MS)


async def test_callers_who_ask_again_and_again_come_to_share_their_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_REGULARS_SHARE", 1e9)
    model = Model()
    model.may_run.clear()
    batcher = DynamicBatcher[int, int](model, REGULARS)

    async def regular(item: int, times: int) -> None:
        for _ in range(times):
            await batcher.submit(item)

    callers = [asyncio.create_task(regular(0, 4))]
    await model.running.acquire()
    callers += [asyncio.create_task(regular(item, 3)) for item in (1, 2, 3)]
    await _settled()
    model.may_run.set()
    await asyncio.gather(*callers)
    # The first batch was item 0 alone; from then on all four that were under way go together.
    assert [sorted(batch) for batch in model.batches] == [[0], *[[0, 1, 2, 3]] * 3]


async def test_lone_caller_waits_for_nobody() -> None:
    model = Model()
    batcher = DynamicBatcher[int, int](model, REGULARS)
    assert [await batcher.submit(item) for item in (1, 2, 3)] == [2, 4, 6]
    assert model.batches == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("regulars_ms", "share"),
    [
        pytest.param(1.0, 1e9, id="nobody comes within the time"),
        pytest.param(LONG_MS, 0.0, id="half the batch's time is over"),
    ],
)
async def test_callers_who_do_not_come_again_do_not_hold_up_the_others(
    regulars_ms: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_REGULARS_SHARE", share)
    options = BatchOptions(max_batch=8, max_delay_ms=0, regulars_ms=regulars_ms)
    model, batcher = await _held(options)
    waiting = _submit(batcher, 1, 2)
    await _settled()
    model.may_run.set()
    assert await asyncio.gather(*waiting) == [2, 4]
    assert model.batches == [[0], [1, 2]]


async def test_closing_while_it_waits_for_regulars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_REGULARS_SHARE", 1e9)
    model, batcher = await _held(REGULARS)
    waiting = _submit(batcher, 1, 2)
    await _settled()
    model.may_run.set()
    await _settled()
    await batcher.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(r, ServiceError) and r.reason == "SHUTTING_DOWN" for r in results)
    assert model.batches == [[0]]


async def test_closing_loses_no_future() -> None:
    model, batcher = await _held()
    waiting = _submit(batcher, 1, 2)
    await _settled()
    closing = asyncio.create_task(batcher.close())
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(r, ServiceError) and r.reason == "SHUTTING_DOWN" for r in results)
    model.may_run.set()
    await closing
    with pytest.raises(ServiceError, match="shutting down"):
        await batcher.submit(3)
    assert model.batches == [[0]]


async def test_closing_an_unused_batcher() -> None:
    await DynamicBatcher[int, int](Model(), EAGER).close()


async def test_the_worker_belongs_to_no_rpc() -> None:
    seen: list[str] = []

    async def run(items: Sequence[int]) -> Sequence[int | Exception]:
        seen.append(rpc_context.request_id())
        return list(items)

    rpc_context.set_request_id("trace-of-the-first-caller")
    await DynamicBatcher[int, int](run, EAGER).submit(1)
    assert seen == [""]


async def test_metrics_show_depth_and_sizes() -> None:
    metrics = ServiceMetrics()
    model = Model()
    model.may_run.clear()
    batcher = DynamicBatcher[int, int](model, EAGER, metrics=metrics.queue("detector"))
    first = _submit(batcher, 0)
    await model.running.acquire()
    rest = _submit(batcher, 1, 2)
    await _settled()
    sample = metrics.registry.get_sample_value
    assert sample("kinemask_queue_depth", {"queue": "detector"}) == 2
    model.may_run.set()
    await asyncio.gather(*first, *rest)
    assert sample("kinemask_queue_depth", {"queue": "detector"}) == 0
    assert sample("kinemask_batch_size_sum", {"queue": "detector"}) == 3
    assert sample("kinemask_batch_size_count", {"queue": "detector"}) == 2


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: BatchOptions(max_batch=0), id="batches of nothing"),
        pytest.param(lambda: BatchOptions(max_queue=0), id="a queue for nobody"),
        pytest.param(lambda: BatchOptions(max_delay_ms=-1), id="a delay into the past"),
        pytest.param(lambda: BatchOptions(regulars_ms=-1), id="regulars from the past"),
    ],
)
def test_options_that_make_no_sense(make: Callable[[], BatchOptions]) -> None:
    with pytest.raises(ValueError, match="expected max_batch"):
        make()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 2)),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("hold"), st.just(0)),
        st.tuples(st.just("let go"), st.just(0)),
        st.tuples(st.just("turn"), st.integers(1, 6)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, poison=st.sets(st.integers(0, 40)), bad=st.sets(st.integers(0, 40)))
def test_whatever_happens_every_item_ends_once(
    steps: list[tuple[str, int]], poison: set[int], bad: set[int]
) -> None:
    asyncio.run(_play(steps, poison, bad))


async def _play(steps: list[tuple[str, int]], poison: set[int], bad: set[int]) -> None:
    model = Model(poison=poison, bad_items=bad)
    buckets: dict[int, int] = {}
    batcher = DynamicBatcher[int, int](model, EAGER, bucket=lambda item: buckets[item])
    tasks: list[asyncio.Task[int]] = []
    cancelled: set[int] = set()
    cancelled_early: set[int] = set()
    for what, number in steps:
        if what == "submit":
            buckets[len(tasks)] = number
            tasks += _submit(batcher, len(tasks))
        elif what == "cancel" and number < len(tasks):
            if not any(number in batch for batch in model.batches) and not tasks[number].done():
                cancelled_early.add(number)
            tasks[number].cancel()
            cancelled.add(number)
        elif what == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        else:
            (model.may_run.clear if what == "hold" else model.may_run.set)()
    model.may_run.set()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    await batcher.close()
    assert {n for n, r in enumerate(results) if isinstance(r, asyncio.CancelledError)} <= cancelled
    _check(model, buckets, results, cancelled_early)


def _check(
    model: Model, buckets: dict[int, int], results: list[int | BaseException], early: set[int]
) -> None:
    for batch in model.batches:
        assert 1 <= len(batch) <= EAGER.max_batch
        assert len({buckets[item] for item in batch}) == 1
        assert batch == sorted(batch)  # in the order of submission
    reached = {item for batch in model.batches for item in batch}
    assert not reached & early
    for item, result in enumerate(results):
        if isinstance(result, asyncio.CancelledError):
            continue
        expected = ValueError if item in model.poison else KeyError
        if item in model.poison | model.bad_items:
            assert isinstance(result, expected)
        else:
            assert result == item * 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3)), max_size=40),
    st.integers(1, 5),
)
def test_no_bucket_starves(items: list[tuple[int, float]], max_batch: int) -> None:
    """Once ripe, the bucket with the oldest item is the one that is taken."""
    queue: BatchQueue[int] = BatchQueue(max_batch, max_delay_s=1.0)
    now_s = 0.0
    waiting: dict[int, float] = {}
    for entry, (bucket, step_s) in enumerate(items):
        now_s += step_s
        queue.add(bucket, entry, now_s)
        waiting[entry] = now_s
        for taken in queue.take(now_s):
            del waiting[taken]
    now_s += 1.0
    while waiting:
        batch = queue.take(now_s)
        assert batch[0] == min(waiting)
        assert batch == sorted(batch)
        for taken in batch:
            del waiting[taken]
    assert len(queue) == 0 and queue.due_s() is None
