"""Which items make up the next batch: a queue of buckets, without a clock or tasks of its own."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Entry = TypeVar("Entry", bound=Hashable)


class BatchQueue(Generic[Entry]):
    """Items in buckets; a batch comes from one bucket, oldest first.

    A bucket is ripe when it can fill a batch or its oldest item has waited `max_delay_s`; of the
    ripe ones, that with the oldest item goes first, so no bucket starves another.

    Invariant: every item is in exactly one bucket, no bucket is empty, and both are in the order
    in which items came (dicts keep it).
    """

    def __init__(self, max_batch: int, max_delay_s: float) -> None:
        self._max_batch = max_batch
        self._max_delay_s = max_delay_s
        self._buckets: dict[Hashable, dict[Entry, float]] = {}
        self._bucket_of: dict[Entry, Hashable] = {}

    def __len__(self) -> int:
        return len(self._bucket_of)

    def add(self, bucket: Hashable, entry: Entry, now_s: float) -> None:
        """Put an item at the end of its bucket."""
        self._buckets.setdefault(bucket, {})[entry] = now_s
        self._bucket_of[entry] = bucket

    def remove(self, entry: Entry) -> bool:
        """Take an item out; False if it is not here."""
        if entry not in self._bucket_of:
            return False
        bucket = self._bucket_of.pop(entry)
        items = self._buckets[bucket]
        del items[entry]
        if not items:
            del self._buckets[bucket]
        return True

    def take(self, now_s: float) -> list[Entry]:
        """The next batch, or nothing if no bucket is ripe."""
        ripe = [
            items
            for items in self._buckets.values()
            if len(items) >= self._max_batch or _oldest_s(items) + self._max_delay_s <= now_s
        ]
        if not ripe:
            return []
        oldest = min(ripe, key=_oldest_s)
        batch = list(oldest)[: self._max_batch]
        for entry in batch:
            self.remove(entry)
        return batch

    def due_s(self) -> float | None:
        """When the next bucket becomes ripe by waiting; None if nothing waits."""
        if not self._buckets:
            return None
        return min(map(_oldest_s, self._buckets.values())) + self._max_delay_s

    def clear(self) -> list[Entry]:
        """Take everything out, in the order in which it came over all buckets."""
        entries = list(self._bucket_of)
        self._buckets.clear()
        self._bucket_of.clear()
        return entries


def _oldest_s(items: dict[Entry, float]) -> float:
    return next(iter(items.values()))
