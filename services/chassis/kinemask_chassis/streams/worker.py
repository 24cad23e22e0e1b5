"""Works on a stream's frames: `prepare` runs ahead, `step` in order, `finish` trails.

Edits and walks have their turn between two steps.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Generic

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers
from kinemask_chassis.streams.editor import Editor
from kinemask_chassis.streams.handler import (
    EditT,
    FrameT,
    PreparedT,
    RawT,
    StreamHandler,
    StreamObserver,
)
from kinemask_chassis.streams.queue import EntryState
from kinemask_chassis.streams.state import Entry, StreamState, Work
from kinemask_chassis.streams.terms import StreamTerms


class Worker(Generic[FrameT, EditT, PreparedT, RawT]):
    """The working task, and the short tasks it starts in `group`."""

    group: asyncio.TaskGroup

    def __init__(
        self,
        state: StreamState[FrameT, EditT, PreparedT],
        terms: StreamTerms,
        answers: Answers,
        handler: StreamHandler[FrameT, EditT, PreparedT, RawT],
        observer: StreamObserver,
    ) -> None:
        self._state = state
        self._snapshot_every = terms.snapshot_every_n_frames
        self._answers = answers
        self._handler = handler
        self._observer = observer
        self._editor = Editor(state, answers, handler)
        self._to_step: deque[Entry[FrameT, PreparedT]] = deque()
        self._since_snapshot = 0
        self._walked_last = False

    async def run(self) -> None:
        """Step frames, apply edits and go on with walks until there is nothing left of any."""
        state = self._state
        while True:
            await state.signal.until(self._something_to_do)
            if state.edits.has_late:
                await self._editor.apply_late(state.edits.take_late())
            elif self._walk_is_next:
                await self._walk()
            elif self._to_step:
                await self._step(self._to_step.popleft())
            elif self._snapshot_is_late():
                state.side.append(await self._snapshot())
            else:
                break
            state.signal.changed()
        if not state.draining:
            self._editor.refuse_rest()
        state.work_over = True
        state.signal.changed()

    def start_waiting(self) -> None:
        """Begin as many waiting frames as may be in work at once."""
        while self._state.in_work < self._handler.depth:
            entry = next(self._state.queue.waiting(), None)
            if entry is None:
                return
            entry.state = EntryState.STARTED
            entry.frame.started_s = time.monotonic()
            self._state.in_work += 1
            self._to_step.append(entry)
            self.group.create_task(self._prepare(entry))

    def refuse(self, entry: Entry[FrameT, PreparedT], error: Exception) -> None:
        """Answer a waiting frame at once that is not worth any work."""
        entry.state = EntryState.ANSWERED
        entry.answers = [self._answers.error(entry, error)]
        self._observer.frames_failed(1)

    def _something_to_do(self) -> bool:
        state = self._state
        waits = state.edits.has_late or self._to_step or self._snapshot_is_late()
        walks = state.walks.next is not None
        over = state.nothing_more_to_step and not self._snapshot_comes and not state.walks
        return bool(waits or walks or over)

    # --- frames

    async def _prepare(self, entry: Entry[FrameT, PreparedT]) -> None:
        work = entry.frame
        try:
            work.prepared = await self._handler.prepare(work.frame)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            work.failure = error
        work.decode_s = time.monotonic() - work.started_s
        work.ready.set()

    async def _step(self, entry: Entry[FrameT, PreparedT]) -> None:
        await entry.frame.ready.wait()
        if entry.frame.failure is not None:
            self._fail(entry, entry.frame.failure)
            return
        self._walked_last = False
        applied = await self._editor.apply_due(entry)
        try:
            raw = await self._timed_step(entry.frame)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._editor.refuse_applied(applied, entry.frame_id, error)
            self._fail(entry, error)
            return
        self._state.last_stepped = entry.frame_id
        for edit, outcome in applied:
            self._editor.settle(edit, entry.frame_id, outcome)
        snapshot = await self._snapshot() if self._snapshot_due(entry.frame_id) else None
        self.group.create_task(self._finish(entry, raw, snapshot))

    async def _timed_step(self, work: Work[FrameT, PreparedT]) -> RawT:
        begun_s = time.monotonic()
        raw = await self._handler.step(work.frame, work.prepared)  # type: ignore[arg-type]  # set when it did not fail
        work.stepped_s = time.monotonic()
        work.infer_s = work.stepped_s - begun_s
        return raw

    async def _finish(
        self, entry: Entry[FrameT, PreparedT], raw: RawT, snapshot: Message | None
    ) -> None:
        begun_s = time.monotonic()
        try:
            result = await self._handler.finish(entry.frame.frame, raw)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._fail(entry, error, snapshot)
            return
        self._observer.frames_out(1)
        message = self._answers.result(entry, result, time.monotonic() - begun_s)
        self._answer(entry, message, snapshot)

    def _fail(
        self, entry: Entry[FrameT, PreparedT], error: Exception, snapshot: Message | None = None
    ) -> None:
        self._observer.frames_failed(1)
        self._answer(entry, self._answers.error(entry, error), snapshot)

    def _answer(
        self, entry: Entry[FrameT, PreparedT], message: Message, snapshot: Message | None
    ) -> None:
        entry.answers = [message] if snapshot is None else [message, snapshot]
        entry.state = EntryState.ANSWERED
        self._state.in_work -= 1
        self.start_waiting()
        self._state.signal.changed()

    # --- walks

    @property
    def _walk_is_next(self) -> bool:
        """Walks and frames take turns: neither waits for more than a step of the other."""
        walks = self._state.walks
        return walks.next is not None and not (self._walked_last and self._to_step)

    async def _walk(self) -> None:
        """One step of the walk whose turn it is."""
        self._walked_last = True
        begun = self._state.walks.next
        assert begun is not None
        try:
            step = await begun.walk.step()
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._state.walks.end(begun.edit_id, errors.status_from_exception(error))
        else:
            self._state.walks.stepped(begun, step)

    # --- snapshots

    def _snapshot_due(self, frame_id: int) -> bool:
        self._since_snapshot += 1
        wanted = self._state.snapshot_after
        asked = wanted is not None and frame_id >= wanted
        return asked or 0 < self._snapshot_every <= self._since_snapshot

    @property
    def _snapshot_comes(self) -> bool:
        """One was asked for, and there is a state to take it of."""
        state = self._state
        asked = state.snapshot_after is not None and not state.draining
        return asked and state.last_stepped >= 0

    def _snapshot_is_late(self) -> bool:
        """One was asked for after a frame that was not stepped, and all there is was told.

        Only then: whoever goes on from a snapshot must have had all answers up to its frame.
        """
        queue = self._state.queue
        return self._snapshot_comes and queue.unanswered == 0 and len(queue) == 0

    async def _snapshot(self) -> Message:
        self._state.snapshot_after = None
        self._since_snapshot = 0
        return self._answers.snapshot(await self._handler.snapshot(), self._state.last_stepped)
