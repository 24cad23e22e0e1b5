"""Work on the device, written as if it were alone: a generator that yields what it needs computed.

def follow(core, image):
    (encoded,) = yield Encode(forward, [image])
    outputs = yield Look(forward, asks)

Whoever drives such generators may answer the requests of many as one batch: see the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch

from kinemask_segmenter.engines.sam2.forward import Ask, Forward

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Encode:
    """Answered by a list of Encoded."""

    forward: Forward
    images: Sequence[torch.Tensor]


@dataclass(frozen=True)
class Look:
    """Answered by a list of Output."""

    forward: Forward
    asks: Sequence[Ask]
    fill_hole_area_px: int


@dataclass(frozen=True)
class Call:
    """Answered by what the function returns."""

    function: Callable[[], Any]


Request: TypeAlias = Encode | Look | Call
Work: TypeAlias = Generator[Request, Any, ResultT]


def answers(requests: Sequence[Request]) -> list[Any]:
    """Compute requests, those of one model and kind together."""
    found: dict[int, Any] = {}
    encodes: dict[int, list[int]] = {}
    looks: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        if isinstance(request, Encode):
            encodes.setdefault(id(request.forward), []).append(number)
        elif isinstance(request, Look):
            looks.setdefault(id(request.forward), []).append(number)
        else:
            found[number] = request.function()
    for numbers in encodes.values():
        found.update(_encoded(numbers, [requests[n] for n in numbers]))
    for numbers in looks.values():
        found.update(_looked(numbers, [requests[n] for n in numbers]))
    return [found[number] for number in range(len(requests))]


def alone(work: Work[ResultT]) -> ResultT:
    """Drive one piece of work to its end."""
    answer: Any = None
    while True:
        try:
            request = work.send(answer)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        (answer,) = answers([request])


def _encoded(numbers: Sequence[int], requests: Sequence[Any]) -> dict[int, Any]:
    every = requests[0].forward.encode([image for each in requests for image in each.images])
    return _dealt(numbers, [len(each.images) for each in requests], every)


def _looked(numbers: Sequence[int], requests: Sequence[Any]) -> dict[int, Any]:
    asks = [ask for each in requests for ask in each.asks]
    holes = [each.fill_hole_area_px for each in requests for _ in each.asks]
    every = requests[0].forward.run(asks, holes)
    return _dealt(numbers, [len(each.asks) for each in requests], every)


def _dealt(numbers: Sequence[int], counts: Sequence[int], every: Sequence[Any]) -> dict[int, Any]:
    found, start = {}, 0
    for number, count in zip(numbers, counts, strict=True):
        found[number] = list(every[start : start + count])
        start += count
    return found
