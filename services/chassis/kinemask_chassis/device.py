"""The thread that owns a device: one piece of work at a time, the event loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from kinemask_chassis import errors

Args = ParamSpec("Args")
Result = TypeVar("Result")


class DeviceThread:
    """Runs blocking model code in the order it was asked for.

    One thread by default, because a model and its device are not to be used by two at once;
    an engine on the CPU whose code is thread-safe may have several.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        """`name` is shown by debuggers and profilers; threads start with the first work."""
        self._name = name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._closed = False

    async def run(
        self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Call `work` in the thread and give what it returns or raises.

        Cancelled while it waits, the work never starts; cancelled while it runs, it runs to its
        end and its result is thrown away.

        Raises:
            ServiceError: UNAVAILABLE if the thread is closed, or is closed before the work starts.
        """
        if self._closed:
            raise self._gone()
        # The request id and the deadline go along into the thread.
        call = partial(contextvars.copy_context().run, work, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise self._gone() from None
            raise

    def stop(self) -> None:
        """Refuse what waits; does not wait for what runs. Idempotent."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def close(self) -> None:
        """Refuse what waits and wait for what runs. Idempotent."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _gone(self) -> errors.ServiceError:
        return errors.unavailable(f"{self._name} is shutting down", reason="SHUTTING_DOWN")
