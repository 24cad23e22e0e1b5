"""Edits that wait for their frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Generic

from kinemask_chassis.streams.handler import EditT
from kinemask_chassis.streams.walks import stopped_by

MAX_EDITS = 256
MAX_EDIT_BYTES = 64 * 1024 * 1024
"""Mask prompts are large: their number alone bounds nothing."""


@dataclass(frozen=True)
class PendingEdit(Generic[EditT]):
    """An edit and where it wants to land."""

    edit: EditT
    frame_id: int | None
    """The frame it names. None: the first frame worked on that was read after it."""
    after_frame_id: int
    """The last frame read before it; -1 for none."""

    def lands_on(self, frame_id: int) -> bool:
        """True if the edit belongs to this frame, or can wait no longer than for it."""
        if self.frame_id is None:
            return frame_id > self.after_frame_id
        return self.frame_id <= frame_id


class EditBook(Generic[EditT]):
    """Edits in the order they came; at most `MAX_EDITS`, and `MAX_EDIT_BYTES` in all."""

    def __init__(self) -> None:
        self._pending: deque[PendingEdit[EditT]] = deque()
        self._late: deque[PendingEdit[EditT]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pending) + len(self._late)

    @property
    def has_late(self) -> bool:
        return bool(self._late)

    def add(self, pending: PendingEdit[EditT], last_stepped: int) -> bool:
        """Keep an edit; one about a frame that was stepped already, or a stop, is due at once.

        Returns False, and keeps nothing, where a bound is reached.
        """
        size = pending.edit.ByteSize()
        if len(self) >= MAX_EDITS or (len(self) and self._bytes + size > MAX_EDIT_BYTES):
            return False
        named, stops = pending.frame_id, stopped_by(pending.edit) is not None
        late = stops or (named is not None and named <= last_stepped)
        (self._late if late else self._pending).append(pending)
        self._bytes += size
        return True

    def take_late(self) -> PendingEdit[EditT]:
        return self._taken(self._late.popleft())

    def take_propagation(self, edit_id: int) -> PendingEdit[EditT] | None:
        """A propagation that waits for its frame; None if none of that id does."""
        for pending in self._pending:
            edit: Any = pending.edit
            if edit.edit_id == edit_id and edit.HasField("propagate"):
                self._pending.remove(pending)
                return self._taken(pending)
        return None

    def take_due(self, frame_id: int) -> list[PendingEdit[EditT]]:
        """Edits that land on this frame, and those whose frame was never worked on."""
        due = [self._taken(p) for p in self._pending if p.lands_on(frame_id)]
        self._pending = deque(p for p in self._pending if not p.lands_on(frame_id))
        return due

    def take_all(self) -> list[PendingEdit[EditT]]:
        """What is left when no frame will come any more."""
        rest = [self._taken(pending) for pending in (*self._late, *self._pending)]
        self._late.clear()
        self._pending.clear()
        return rest

    def _taken(self, pending: PendingEdit[EditT]) -> PendingEdit[EditT]:
        self._bytes -= pending.edit.ByteSize()
        return pending
