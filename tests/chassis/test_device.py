"""The device thread: order, cancellation, context, shutdown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from kinemask_chassis import context as rpc_context
from kinemask_chassis.device import DeviceThread
from kinemask_chassis.errors import ServiceError


@pytest.fixture
async def device() -> AsyncIterator[DeviceThread]:
    thread = DeviceThread("model")
    yield thread
    await thread.close()


class Gate:
    """Work that begins, and ends when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def work(self) -> str:
        self.begun.set()
        assert self.may_end.wait(30)
        return "done"


async def _occupied(device: DeviceThread) -> tuple[Gate, asyncio.Task[str]]:
    gate = Gate()
    task = asyncio.create_task(device.run(gate.work))
    assert await asyncio.to_thread(gate.begun.wait, 30)
    return gate, task


async def test_work_runs_in_one_thread_in_order(device: DeviceThread) -> None:
    order: list[int] = []
    threads = await asyncio.gather(*(device.run(_note, order, n) for n in range(50)))
    assert order == list(range(50))
    assert len(set(threads)) == 1 and threads[0] != threading.get_ident()


def _note(order: list[int], number: int) -> int:
    order.append(number)
    return threading.get_ident()


async def test_what_the_work_raises_is_raised(device: DeviceThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await device.run(lambda: 1 // 0)


async def test_work_that_is_cancelled_in_the_queue_never_starts(device: DeviceThread) -> None:
    gate, occupant = await _occupied(device)
    started: list[int] = []
    queued = asyncio.create_task(device.run(started.append, 1))
    await asyncio.sleep(0)  # one turn of the loop: it has asked for the thread
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    gate.may_end.set()
    assert await occupant == "done"
    await device.run(started.append, 2)
    assert started == [2]


async def test_closing_refuses_what_waits_and_finishes_what_runs(device: DeviceThread) -> None:
    gate, occupant = await _occupied(device)
    queued = asyncio.create_task(device.run(len, "abc"))
    await asyncio.sleep(0)  # one turn of the loop: it has asked for the thread
    closing = asyncio.create_task(device.close())
    with pytest.raises(ServiceError, match="model is shutting down"):
        await queued
    gate.may_end.set()
    assert await occupant == "done"
    await closing
    with pytest.raises(ServiceError, match="model is shutting down"):
        await device.run(len, "abc")


async def test_the_request_id_goes_along(device: DeviceThread) -> None:
    rpc_context.set_request_id("trace-1")
    assert await device.run(rpc_context.request_id) == "trace-1"


async def test_several_threads_work_at_once() -> None:
    pair = DeviceThread("cpu", threads=2)
    meeting = threading.Barrier(2)
    await asyncio.gather(*(pair.run(meeting.wait, 30) for _ in range(2)))
    await pair.close()
