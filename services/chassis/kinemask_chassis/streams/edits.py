"""Edits that wait for their frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

EditT = TypeVar("EditT")


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
    """Edits in the order they came. Bounded: `full` says when no more are taken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: deque[PendingEdit[EditT]] = deque()
        self._late: deque[PendingEdit[EditT]] = deque()

    @property
    def full(self) -> bool:
        return len(self._pending) + len(self._late) >= self._limit

    @property
    def has_late(self) -> bool:
        return bool(self._late)

    def add(self, pending: PendingEdit[EditT], last_stepped: int) -> None:
        """Keep an edit; one about a frame that was stepped already is due at once."""
        late = pending.frame_id is not None and pending.frame_id <= last_stepped
        (self._late if late else self._pending).append(pending)

    def take_late(self) -> PendingEdit[EditT]:
        return self._late.popleft()

    def take_due(self, frame_id: int) -> list[PendingEdit[EditT]]:
        """Edits that land on this frame, and those whose frame was never worked on."""
        due = [pending for pending in self._pending if pending.lands_on(frame_id)]
        self._pending = deque(p for p in self._pending if not p.lands_on(frame_id))
        return due

    def take_all(self) -> list[PendingEdit[EditT]]:
        """What is left when no frame will come any more."""
        rest = [*self._late, *self._pending]
        self._late.clear()
        self._pending.clear()
        return rest
