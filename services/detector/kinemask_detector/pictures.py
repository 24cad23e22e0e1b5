"""One picture's way through an engine: decoded, prepared, batched, finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from kinemask import wire
from kinemask.v1 import detector_pb2, media_pb2
from kinemask_chassis.media import decode_image

from kinemask_detector.devices import EngineDevice, Inferred
from kinemask_detector.engines.registry import AnyEngine
from kinemask_detector.messages import Options, Query, found_to_message, query_from_message

ArgsT = ParamSpec("ArgsT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Picture:
    """A picture that is ready for the model."""

    height: int
    width: int
    query: Query
    """What it was prepared for."""
    prepared: Any
    """The engine's own."""
    decode_s: float
    """Spent decoding and preparing."""


class EngineRunner:
    """One engine on its device; shared by all requests and streams."""

    def __init__(
        self, engine: AnyEngine, device: EngineDevice, executor: Executor, max_pixels: int
    ) -> None:
        """`executor` runs what needs no device; larger pictures than `max_pixels` are refused."""
        self.engine = engine
        self._device = device
        self._executor = executor
        self._max_pixels = max_pixels

    async def warm_up(self) -> None:
        """Load the engine and pay its first-call costs, in the device's thread."""
        await self._device.warm_up(self.engine)

    async def query(self, options: Options, field: str) -> Query:
        """What validated options ask of this engine.

        Raises:
            ServiceError: INVALID_ARGUMENT: it cannot look for that.
        """
        return await self._off_loop(query_from_message, options, self.engine, field)

    async def decode(self, message: media_pb2.Image, field: str) -> wire.RgbImage:
        """The picture's pixels.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        return await self._off_loop(decode_image, message, self._max_pixels, field)

    async def prepare(self, image: wire.RgbImage, query: Query) -> Picture:
        """Ready a decoded picture for the model."""
        return await self._off_loop(self._prepare, image, query, time.monotonic())

    async def read(self, message: media_pb2.Image, query: Query, field: str) -> Picture:
        """Decode and prepare in one go, so that the pixels are let go at once.

        Raises:
            ServiceError: INVALID_ARGUMENT: undecodable or too large.
        """
        return await self._off_loop(self._read, message, query, field)

    async def infer(self, picture: Picture) -> Inferred:
        """Through the model, in a batch with others.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED (queue full), DEADLINE_EXCEEDED, UNAVAILABLE;
                FAILED_PRECONDITION: the model does not fit into memory.
        """
        return await self._device.infer(self.engine, picture.prepared)

    async def finish(self, picture: Picture, inferred: Inferred) -> detector_pb2.ImageDetections:
        """The result message without its timing."""
        return await self._off_loop(self._finish, picture, inferred)

    async def _off_loop(
        self, work: Callable[ArgsT, ValueT], *args: ArgsT.args, **kwargs: ArgsT.kwargs
    ) -> ValueT:
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    # --- in threads

    def _read(self, message: media_pb2.Image, query: Query, field: str) -> Picture:
        begun_s = time.monotonic()
        return self._prepare(decode_image(message, self._max_pixels, field), query, begun_s)

    def _prepare(self, image: wire.RgbImage, query: Query, begun_s: float) -> Picture:
        prepared = self.engine.preprocess(query.about(image))
        height, width = image.shape[:2]
        return Picture(height, width, query, prepared, time.monotonic() - begun_s)

    def _finish(self, picture: Picture, inferred: Inferred) -> detector_pb2.ImageDetections:
        found = self.engine.postprocess(picture.prepared, inferred.raw)
        return found_to_message(found, picture.height, picture.width)
