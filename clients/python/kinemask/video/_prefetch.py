"""An iterator that works ahead of its reader in a thread of its own."""

import threading
from collections.abc import Generator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class _End:
    """Nothing follows; `error` is what ended it, if it was not the end of the items."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Yield `items`, up to `depth` of them made ahead in a thread.

    An error in the thread is raised here, after the items that came before it. When this iterator
    is closed or dropped, the thread closes `items` and is joined.
    """
    done: SimpleQueue[T | _End] = SimpleQueue()
    slots = threading.Semaphore(depth)  # items that may still be made
    stopped = threading.Event()

    def work() -> None:
        try:
            for item in items:
                slots.acquire()
                if stopped.is_set():
                    return
                done.put(item)
            done.put(_End())
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            done.put(_End(error))
        finally:
            items.close()

    thread = threading.Thread(target=work, name="kinemask-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := done.get(), _End):
            slots.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        slots.release()
        thread.join()
