"""Applies a stream's edits and answers each: on their frame, late, or not at all."""

from __future__ import annotations

from typing import Any, Generic, TypeAlias

from kinemask_chassis import errors
from kinemask_chassis.streams.answers import Answers
from kinemask_chassis.streams.edits import PendingEdit
from kinemask_chassis.streams.handler import EditT, FrameT, PreparedT, RawT, StreamHandler
from kinemask_chassis.streams.state import WALK_CUT, Entry, StreamState
from kinemask_chassis.streams.walks import MAX_WALKS, BegunWalk, Walk, stopped_by

Outcome: TypeAlias = int | Walk
"""The object an edit was about, or the walk it began."""


class Editor(Generic[FrameT, EditT, PreparedT, RawT]):
    """Works for the worker, which calls one method at a time."""

    def __init__(
        self,
        state: StreamState[FrameT, EditT, PreparedT],
        answers: Answers,
        handler: StreamHandler[FrameT, EditT, PreparedT, RawT],
    ) -> None:
        self._state = state
        self._answers = answers
        self._handler = handler

    async def apply_due(self, entry: Entry[FrameT, PreparedT]) -> list[tuple[EditT, Outcome]]:
        """Apply what lands on this frame; such an edit is answered once the frame was stepped.

        Edits of earlier frames, never worked on, are answered at once.
        """
        applied: list[tuple[EditT, Outcome]] = []
        for pending in self._state.edits.take_due(entry.frame_id):
            if pending.frame_id not in (None, entry.frame_id):
                await self.apply_late(pending)
                continue
            edit, prepared = pending.edit, entry.frame.prepared
            try:
                applied.append((edit, await self._handler.apply(edit, entry.frame_id, prepared)))
            except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
                self._refuse(edit, entry.frame_id, error)
        return applied

    async def apply_late(self, pending: PendingEdit[EditT]) -> None:
        """Apply an edit about a frame that lies in the past, or a stop."""
        stopped = stopped_by(pending.edit)
        if stopped is not None:
            self._stop(pending, stopped)
            return
        frame_id = pending.frame_id or 0
        try:
            outcome = await self._handler.apply(pending.edit, frame_id, None)
        except Exception as error:  # noqa: BLE001 - answered in-band, whatever it is
            self._refuse(pending.edit, frame_id, error)
        else:
            self.settle(pending.edit, frame_id, outcome)

    def settle(self, edit: EditT, frame_id: int, outcome: Outcome) -> None:
        """Answer an edit that was applied, and begin its walk if it has one."""
        if isinstance(outcome, int):
            self._state.side.append(self._answers.edit(edit, frame_id, outcome))
        elif self._state.walks.full:
            self._refuse(edit, frame_id, _too_many_walks())
        else:
            self._state.side.append(self._answers.edit(edit, frame_id, 0))
            self._begin(_edit_id(edit), outcome)

    def refuse_applied(
        self, applied: list[tuple[EditT, Outcome]], frame_id: int, error: Exception
    ) -> None:
        """The frame that edits were applied to could not be stepped: nothing came of them."""
        for edit, _ in applied:
            self._refuse(edit, frame_id, error)

    def refuse_rest(self) -> None:
        """No frame comes any more for the edits that wait for one."""
        for pending in self._state.edits.take_all():
            about = "the next frame" if pending.frame_id is None else f"frame {pending.frame_id}"
            gone = errors.not_found(f"the stream ended before {about}", reason="FRAME_GONE")
            self._refuse(pending.edit, pending.frame_id, gone)

    def _begin(self, edit_id: int, walk: Walk) -> None:
        walks = self._state.walks
        walks.add(BegunWalk(edit_id, walk, self._state.last_stepped))
        if self._state.draining:
            walks.end(edit_id, WALK_CUT.to_status())

    def _stop(self, pending: PendingEdit[EditT], edit_id: int) -> None:
        stopped = errors.cancelled(f"stopped by edit {_edit_id(pending.edit)}", reason="STOPPED")
        waiting = self._state.edits.take_propagation(edit_id)
        if waiting is not None:
            self._refuse(waiting.edit, waiting.frame_id, stopped)
        elif not self._state.walks.end(edit_id, stopped.to_status()):
            gone = errors.not_found(
                f"expected the edit_id of a propagation under way, found {edit_id}",
                reason="UNKNOWN_PROPAGATION",
            )
            self._refuse(pending.edit, pending.frame_id, gone)
            return
        answer = self._answers.edit(pending.edit, max(0, self._state.last_stepped), 0)
        self._state.side.append(answer)

    def _refuse(self, edit: EditT, frame_id: int | None, error: Exception) -> None:
        self._state.side.append(self._answers.refusal(edit, frame_id, error))


def _too_many_walks() -> errors.ServiceError:
    return errors.exhausted(
        f"{MAX_WALKS} propagations are under way or wait; expected no more than that",
        reason="TOO_MANY_PROPAGATIONS",
    )


def _edit_id(edit: Any) -> int:
    edit_id: int = edit.edit_id
    return edit_id
