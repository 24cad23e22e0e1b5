"""One device for many: order, turns, failures, cancellation, the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs the extra kinemask-segmenter[sam2]")
pytest.importorskip("sam2", reason="needs the extra kinemask-segmenter[sam2]")

from kinemask_chassis.errors import ServiceError
from kinemask_segmenter.engines.sam2.scheduler import Scheduler
from kinemask_segmenter.engines.sam2.work import Call, Work


@pytest.fixture(params=[1, 3], ids=["one at a time", "side by side"])
def scheduler(request: pytest.FixtureRequest) -> Iterator[Scheduler]:
    scheduler = Scheduler("test", request.param)
    yield scheduler
    scheduler.stop()


def notes(log: list[str], name: str, steps: int) -> Work[str]:
    """Writes a line a step."""
    for step in range(steps):
        yield Call(lambda step=step: log.append(f"{name}{step}"))  # type: ignore[misc]  # bound now
    return name


def fails(error: Exception) -> Work[None]:
    def work() -> None:
        raise error

    yield Call(work)


async def test_work_of_a_lane_runs_in_order_and_never_at_once(scheduler: Scheduler) -> None:
    log: list[str] = []
    lane = scheduler.lane()
    found = await asyncio.gather(lane.run(notes(log, "a", 3)), lane.run(notes(log, "b", 2)))
    assert list(found) == ["a", "b"]
    assert log == ["a0", "a1", "a2", "b0", "b1"]


async def test_lanes_take_turns_a_piece_of_work_each() -> None:
    scheduler, log, gate = Scheduler("test", 1), list[str](), threading.Event()
    busy = asyncio.create_task(scheduler.lane().run(_waits(gate)))
    greedy, modest = scheduler.lane(), scheduler.lane()
    asked = [
        asyncio.create_task(lane.run(notes(log, name, 1)))
        for lane, name in ((greedy, "a"), (greedy, "b"), (greedy, "c"), (modest, "x"))
    ]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(busy, *asked)
    scheduler.stop()
    assert log == ["a0", "x0", "b0", "c0"]


async def test_long_work_rests_while_others_wait() -> None:
    scheduler, log, gate = Scheduler("test", 1), list[str](), threading.Event()
    busy = asyncio.create_task(scheduler.lane().run(_waits(gate)))
    long, short = (
        asyncio.create_task(scheduler.lane().run(notes(log, name, steps)))
        for name, steps in (("a", 50), ("x", 2))
    )
    await asyncio.sleep(0)
    gate.set()
    assert list(await asyncio.gather(busy, long, short)) == [None, "a", "x"]
    scheduler.stop()
    assert [line for line in log if line[0] == "a"] == [f"a{step}" for step in range(50)]
    assert log.index("x1") <= 8


async def test_long_work_that_rests_is_refused_at_the_end() -> None:
    scheduler, gate, begun = Scheduler("test", 1), threading.Event(), threading.Event()
    log: list[str] = []
    long = asyncio.create_task(scheduler.lane().run(notes(log, "a", 100_000)))
    await asyncio.sleep(0)
    busy = asyncio.create_task(scheduler.lane().run(_waits(gate, begun)))
    await asyncio.to_thread(begun.wait, 10)
    scheduler.stop()
    gate.set()
    await busy
    with pytest.raises(ServiceError, match="shutting down"):
        await long
    assert 0 < len(log) < 100_000


def _waits(gate: threading.Event, begun: threading.Event | None = None) -> Work[None]:
    def wait() -> None:
        if begun is not None:
            begun.set()
        gate.wait(10)

    yield Call(wait)


async def test_a_failure_is_its_own(scheduler: Scheduler) -> None:
    log: list[str] = []
    lane = scheduler.lane()
    found = await asyncio.gather(
        lane.run(fails(ValueError("bad input"))),
        scheduler.lane().run(notes(log, "a", 4)),
        lane.run(notes(log, "b", 1)),
        return_exceptions=True,
    )
    assert isinstance(found[0], ValueError)
    assert (found[1], found[2]) == ("a", "b")


async def test_what_is_cancelled_while_it_waits_never_begins() -> None:
    scheduler, log, gate = Scheduler("test", 1), list[str](), threading.Event()
    busy = asyncio.create_task(scheduler.lane().run(_waits(gate)))
    waiting = asyncio.create_task(scheduler.lane().run(notes(log, "never", 1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    await busy
    assert await scheduler.lane().run(notes(log, "after", 1)) == "after"
    scheduler.stop()
    assert log == ["after0"]


async def test_what_waits_when_it_ends_is_refused() -> None:
    scheduler, gate, begun = Scheduler("test", 1), threading.Event(), threading.Event()
    busy = asyncio.create_task(scheduler.lane().run(_waits(gate, begun)))
    waiting = asyncio.create_task(scheduler.lane().run(notes([], "a", 1)))
    assert await asyncio.to_thread(begun.wait, 10)
    scheduler.stop()
    gate.set()
    await busy
    with pytest.raises(ServiceError, match="shutting down"):
        await waiting
    with pytest.raises(ServiceError, match="shutting down"):
        await scheduler.lane().run(notes([], "b", 1))
