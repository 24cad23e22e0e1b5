"""All streams of one service: slots, the first message, leaving together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.handler import StreamObserver, StreamPlan
from kinemask_chassis.streams.runner import FrameStream
from kinemask_chassis.streams.state import StreamLoad
from kinemask_chassis.streams.terms import StreamLimits, StreamTerms
from kinemask_chassis.streams.writer import Send
from kinemask_chassis.validation import validate

Open = Callable[[Any, StreamTerms], Awaitable[StreamPlan[Any, Any, Any, Any]]]
"""Reads a stream's config and decides. Raises ServiceError to refuse the stream."""


class StreamServer:
    """Runs every bidirectional stream of a service.

    Invariant: `active` is the number of streams that hold a slot; a slot is freed when its
    stream ends, however it ends.
    """

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._streams: set[FrameStream[Any, Any, Any, Any]] = set()
        self._reserved = 0
        self._grace_s: float | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """Streams that hold a slot."""
        return self._reserved

    def loads(self) -> list[StreamLoad]:
        """How much each running stream holds now, in no order."""
        return [stream.load for stream in self._streams]

    async def serve(
        self,
        kind: str,
        requests: AsyncIterator[Any],
        send: Send,
        response_type: Callable[..., Message],
        open_stream: Open,
        observer: StreamObserver,
    ) -> None:
        """Serve one stream to its end; see streams.proto for the contract.

        Raises:
            ServiceError: the rpc is to end with its status.
        """
        config = await self._first_config(requests)
        self._take_slot()
        try:
            terms = StreamTerms.agree(kind, config, self._limits)
            plan = await open_stream(config, terms)
            stream = FrameStream(plan.handler, terms, response_type, send, observer)
            self._streams.add(stream)
            try:
                plan.started.terms.CopyFrom(terms.to_message(plan.service))  # type: ignore[attr-defined]  # every started message has them
                if self._grace_s is not None:
                    stream.drain(self._grace_s)
                await stream.run(requests, response_type(started=plan.started))
            finally:
                self._streams.discard(stream)
        finally:
            self._free_slot()

    async def drain(self, grace_s: float) -> None:
        """Tell every stream to leave and wait until they have, `grace_s` at most."""
        self._grace_s = grace_s
        for stream in list(self._streams):
            stream.drain(grace_s)
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return  # the server ends what is left

    async def _first_config(self, requests: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self._limits.stall_timeout_s):
                first = await anext(requests, None)
        except TimeoutError:
            raise errors.exhausted(
                f"no config came for {self._limits.stall_timeout_s:g} s", reason="CLIENT_STALLED"
            ) from None
        found = first.WhichOneof("message") if first is not None else None
        if first is None or found != "config":
            raise errors.invalid(
                "message",
                f"expected config as the first message, found {found or 'nothing'}",
                reason="CONFIG_EXPECTED",
            )
        validate(first.config)
        return first.config

    def _take_slot(self) -> None:
        if self._grace_s is not None:
            raise errors.unavailable("this replica is leaving; try again", retry_after_s=0.1)
        if self._reserved >= self._limits.max_streams:
            raise errors.exhausted(
                f"all {self._limits.max_streams} streams are taken",
                reason="NO_FREE_STREAM",
                retry_after_s=1.0,
            )
        self._reserved += 1
        self._idle.clear()

    def _free_slot(self) -> None:
        self._reserved -= 1
        if self._reserved == 0:
            self._idle.set()
