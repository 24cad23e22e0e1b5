"""Works on a stream's frames: `prepare` runs ahead, `step` in order, `finish` trails."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Generic

from google.protobuf.message import Message

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers
from kinemask_chassis.streams.edits import PendingEdit
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
        self._to_step: deque[Entry[FrameT, PreparedT]] = deque()
        self._since_snapshot = 0

    async def run(self) -> None:
        """Step frames and apply edits until there is nothing left of either."""
        state = self._state
        while True:
            await state.signal.until(self._something_to_do)
            if state.edits.has_late:
                await self._apply_late(state.edits.take_late())
            elif self._to_step:
                await self._step(self._to_step.popleft())
            elif self._snapshot_is_late():
                state.side.append(await self._snapshot())
            else:
                break
            state.signal.changed()
        if not state.draining:
            self._refuse_rest()
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
        return bool(waits or (state.nothing_more_to_step and not self._snapshot_comes))

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
        applied = await self._apply_due(entry)
        try:
            raw = await self._timed_step(entry.frame)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            refused = (self._answers.refusal(edit, entry.frame_id, error) for edit, _ in applied)
            self._state.side.extend(refused)
            self._fail(entry, error)
            return
        self._state.last_stepped = entry.frame_id
        done = (self._answers.edit(edit, entry.frame_id, about) for edit, about in applied)
        self._state.side.extend(done)
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

    # --- edits

    async def _apply_due(self, entry: Entry[FrameT, PreparedT]) -> list[tuple[EditT, int]]:
        """Apply what lands on this frame; such an edit is answered once the frame was stepped.

        Edits of earlier frames, never worked on, are answered at once.
        """
        applied: list[tuple[EditT, int]] = []
        for pending in self._state.edits.take_due(entry.frame_id):
            if pending.frame_id not in (None, entry.frame_id):
                await self._apply_late(pending)
                continue
            edit, prepared = pending.edit, entry.frame.prepared
            try:
                applied.append((edit, await self._handler.apply(edit, entry.frame_id, prepared)))
            except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
                self._state.side.append(self._answers.refusal(edit, entry.frame_id, error))
        return applied

    async def _apply_late(self, pending: PendingEdit[EditT]) -> None:
        """Apply an edit about a frame that lies in the past; it names one."""
        frame_id = pending.frame_id or 0
        try:
            object_id = await self._handler.apply(pending.edit, frame_id, None)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            answer = self._answers.refusal(pending.edit, frame_id, error)
        else:
            answer = self._answers.edit(pending.edit, frame_id, object_id)
        self._state.side.append(answer)

    def _refuse_rest(self) -> None:
        for pending in self._state.edits.take_all():
            about = "the next frame" if pending.frame_id is None else f"frame {pending.frame_id}"
            gone = errors.not_found(f"the stream ended before {about}", reason="FRAME_GONE")
            self._state.side.append(self._answers.refusal(pending.edit, pending.frame_id, gone))

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
