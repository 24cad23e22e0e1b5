"""Runs one bidirectional stream by the contract in streams.proto.

Three tasks share a queue: the reader takes frames and edits in, the worker steps frames in order
(with `prepare` running ahead and `finish` trailing), the writer tells the client. Nothing here
grows with what a client does: frames are bounded by the window, edits and their answers by
constants, and the reader stops where a bound is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Generic

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers, ResponseType
from kinemask_chassis.streams.handler import (
    EditT,
    FrameT,
    PreparedT,
    RawT,
    StreamHandler,
    StreamObserver,
)
from kinemask_chassis.streams.reader import Reader
from kinemask_chassis.streams.state import StreamLoad, StreamState
from kinemask_chassis.streams.terms import StreamTerms
from kinemask_chassis.streams.worker import Worker
from kinemask_chassis.streams.writer import Send, Writer


class FrameStream(Generic[FrameT, EditT, PreparedT, RawT]):
    """One stream from its config to its end."""

    def __init__(
        self,
        handler: StreamHandler[FrameT, EditT, PreparedT, RawT],
        terms: StreamTerms,
        response_type: ResponseType,
        send: Send,
        observer: StreamObserver,
    ) -> None:
        answers = Answers(response_type, terms)
        self._handler = handler
        self._state: StreamState[FrameT, EditT, PreparedT] = StreamState(terms)
        self._worker = Worker(self._state, terms, answers, handler, observer)
        self._reader = Reader(self._state, terms, answers, self._worker, observer)
        self._writer = Writer(self._state, terms, answers, handler, send)

    async def run(self, requests: AsyncIterator[Any], started: Message) -> None:
        """Say `started`, then serve until the client is done, or gone, or this side has to leave.

        Raises:
            ServiceError: the stream cannot go on; the rpc ends with its status.
        """
        try:
            await self._writer.send(started)
            async with asyncio.TaskGroup() as group:
                self._worker.group = group
                reader = group.create_task(self._reader.run(requests))
                group.create_task(self._worker.run())
                group.create_task(self._writer.run(reader))
        except BaseExceptionGroup as group_error:
            raise _first_cause(group_error) from None
        finally:
            await asyncio.shield(self._handler.close())

    def drain(self, grace_s: float) -> None:
        """Leave: finish the frames in work, hand the state to the client, end."""
        self._state.drain(grace_s)

    @property
    def load(self) -> StreamLoad:
        """How much this stream holds now."""
        return self._state.load


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that brought the stream down: a service error where there is one."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(_first_cause(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((e for e in leaves if isinstance(e, errors.ServiceError)), leaves[0])
