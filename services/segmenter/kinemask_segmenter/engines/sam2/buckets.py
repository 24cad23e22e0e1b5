"""Functions of batches, compiled for a few batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class CompileOptions:
    """How to compile."""

    backend: str | Callable[..., Any] = "inductor"
    """A compiler's name, or a compiler."""
    buckets: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Batch sizes, ascending; larger batches are cut, others padded."""
    conditioning: int = 2
    """Conditioning frames up to which memory attention is compiled."""


class Compiled:
    """A function in compiled form for the shapes it was warmed up with.

    Tensors among its arguments whose first side is the batch's are cut and padded to buckets; its
    results are tensors, or nests of them, whose first side is the batch's.
    """

    def __init__(self, function: Callable[..., Any], options: CompileOptions, cuda: bool) -> None:
        self._eager = function
        self._cuda = cuda
        self._buckets = options.buckets
        mode = "reduce-overhead" if cuda and options.backend == "inductor" else None
        self._compiled = torch.compile(function, backend=options.backend, mode=mode, dynamic=False)
        self._known: set[object] = set()
        self.warming = False
        """Shapes that come now are compiled."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        batch = next(_sizes_of((args, named)))
        parts = [
            self._part(*_padded(_cut((args, named), batch, start, stop), stop - start, bucket))
            for start, stop, bucket in self._cuts(batch)
        ]
        counts = [stop - start for start, stop, _ in self._cuts(batch)]
        return _joined(parts, counts)

    def _cuts(self, batch: int) -> Iterator[tuple[int, int, int]]:
        """Start, end and bucket of each part of a batch."""
        largest = self._buckets[-1]
        for start in range(0, batch, largest):
            count = min(largest, batch - start)
            yield start, start + count, next(each for each in self._buckets if each >= count)

    def _part(self, args: Any, named: Any) -> Any:
        key = _shape((args, named))
        if key not in self._known:
            if not self.warming:
                return self._eager(*args, **named)
            self._known.add(key)
        # A version is also for one order of numbers in memory; another would be compiled now.
        args, named = _mapped((args, named), torch.Tensor.contiguous)
        if not self._cuda:
            return self._compiled(*args, **named)
        torch.compiler.cudagraph_mark_step_begin()
        # A graph's results lie where those of its next run will.
        return _copied(self._compiled(*args, **named))


def _sizes_of(value: Any) -> Iterator[int]:
    """The first side of each tensor in a nest of lists, tuples and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        yield int(value.shape[0])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _sizes_of(each)
    elif isinstance(value, dict):
        yield from _sizes_of(list(value.values()))


def _cut(value: Any, batch: int, start: int, stop: int) -> Any:
    """Entries `start..stop` of every tensor of a batch; one shared by all entries stays whole."""
    if start == 0 and stop == batch:
        return value
    return _mapped(value, lambda each: each[start:stop] if each.shape[0] == batch else each)


def _padded(value: Any, count: int, bucket: int) -> Any:
    """Every tensor of `count` entries filled up to `bucket` with its last."""
    if count == bucket:
        return value

    def filled(each: torch.Tensor) -> torch.Tensor:
        if each.shape[0] != count:
            return each
        return torch.cat([each, each[-1:].expand(bucket - count, *each.shape[1:])])

    return _mapped(value, filled)


def _joined(parts: Sequence[Any], counts: Sequence[int]) -> Any:
    """The first `counts[i]` entries of each part's tensors, one part after another."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        kept = [each[:count] for each, count in zip(parts, counts, strict=True)]
        return kept[0] if len(kept) == 1 else torch.cat(kept)
    if isinstance(first, dict):
        return {key: _joined([each[key] for each in parts], counts) for key in first}
    return type(first)(_joined(list(each), counts) for each in zip(*parts, strict=True))


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(each, change) for each in value)
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    return value


def _shape(value: Any) -> object:
    """What a compiled version is for: shapes, types, and whatever is no tensor."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(_shape(each) for each in value)
    if isinstance(value, dict):
        return tuple((key, _shape(each)) for key, each in sorted(value.items()))
    return value


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(each) for each in value)
    return {key: _copied(each) for key, each in value.items()}
