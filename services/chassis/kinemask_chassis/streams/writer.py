"""Tells the client what there is to tell, frames in their order, and says goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers
from kinemask_chassis.streams.handler import EditT, FrameT, PreparedT, StreamHandler
from kinemask_chassis.streams.queue import SkipRun
from kinemask_chassis.streams.state import Entry, StreamState
from kinemask_chassis.streams.terms import StreamTerms

Send = Callable[[Message], Awaitable[None]]

_LINGER_S = 5.0


class Writer(Generic[FrameT, EditT, PreparedT]):
    """The writing task."""

    def __init__(
        self,
        state: StreamState[FrameT, EditT, PreparedT],
        terms: StreamTerms,
        answers: Answers,
        handler: StreamHandler[FrameT, EditT, PreparedT, Any],
        send: Send,
    ) -> None:
        self._state = state
        self._stall_timeout_s = terms.stall_timeout_s
        self._answers = answers
        self._handler = handler
        self._send = send
        self._walked_last = False
        """Frames and walks take turns."""

    async def run(self, reader: asyncio.Task[None]) -> None:
        """Write until everything was told; then, if this side has to leave, hand over."""
        state = self._state
        while True:
            await state.signal.until(self._something_to_tell)
            walked = state.walks.may_tell(state.last_told)
            if state.side:
                await self.send(state.side.popleft())
            elif walked and not (self._walked_last and state.queue.ready):
                self._walked_last = True
                await self.send(self._answers.walked(state.walks.tell()))
            elif (entry := state.queue.pop_ready()) is not None:
                self._walked_last = False
                await self._tell(entry)
            else:
                break
            state.signal.changed()
        if state.draining:
            await self._say_goodbye(reader)

    def _something_to_tell(self) -> bool:
        state = self._state
        walked = state.walks.may_tell(state.last_told)
        return bool(state.side or state.queue.ready or walked or state.all_told)

    async def send(self, message: Message) -> None:
        """Write one message.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED: the client does not read.
        """
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                await self._send(message)
        except TimeoutError:
            raise errors.exhausted(
                f"the client read nothing for {self._stall_timeout_s:g} s",
                reason="CLIENT_STALLED",
            ) from None

    async def _tell(self, entry: Entry[FrameT, PreparedT] | SkipRun) -> None:
        if isinstance(entry, SkipRun):
            self._state.last_told = entry.last_frame_id
            await self.send(self._answers.skipped(entry))
        else:
            self._state.last_told = entry.frame_id
            for message in entry.answers:
                await self.send(message)
        self._state.queue.written(entry)

    async def _say_goodbye(self, reader: asyncio.Task[None]) -> None:
        """Hand over: a token after everything was answered, then wait for the client to go."""
        linger_s = min(_LINGER_S, self._state.drain_left_s)
        stepped = self._state.last_stepped >= 0
        snapshot = await self._handler.snapshot() if stepped else None
        await self.send(self._answers.go_away(snapshot, self._state.last_told, linger_s))
        await asyncio.wait([reader], timeout=linger_s)
        reader.cancel()
