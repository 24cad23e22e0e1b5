"""Walks: edits that are answered in many steps, beside the frames.

An edit whose `apply` gave a walk is answered as any other, and then by the walk's messages. Walks
of one stream run one after another, a step between two frames, and pause while the client has not
read what they found.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message
from google.rpc import status_pb2

MAX_WALKS = 8
"""Walks that may be under way or wait for their turn."""
_MAX_UNTOLD = 4
"""Steps that may wait for the client to read; the walk pauses there."""


class Walk(Protocol):
    """What an edit set off. A failing step ends it; the stream lives.

    It changes nothing that a snapshot holds: whoever goes on from one asks for it again.
    """

    async def step(self) -> Message | None:
        """The next `propagated` message; None after the last."""
        ...

    def ended(self, status: status_pb2.Status) -> Message:
        """The last message of a walk that did not get to its end."""
        ...


@dataclass(frozen=True)
class BegunWalk:
    """A walk, the edit that asked for it, and what the client is to be told first."""

    edit_id: int
    walk: Walk
    after_frame_id: int
    """Nothing of it is told before the answer to this frame."""


@dataclass(frozen=True)
class _Untold:
    message: Message
    after_frame_id: int


class WalkBook:
    """The walks of one stream in the order they were asked for; the first of them runs.

    Invariants: at most `MAX_WALKS` walks; a step is taken only while fewer than `_MAX_UNTOLD`
    messages wait to be told.
    """

    def __init__(self) -> None:
        self._walks: deque[BegunWalk] = deque()
        self._untold: deque[_Untold] = deque()

    def __len__(self) -> int:
        return len(self._walks)

    @property
    def unread(self) -> int:
        """Messages that the client has not been told."""
        return len(self._untold)

    @property
    def full(self) -> bool:
        return len(self._walks) >= MAX_WALKS

    @property
    def next(self) -> BegunWalk | None:
        """The walk whose step is due; None if there is none, or the client has to read first."""
        return self._walks[0] if self._walks and len(self._untold) < _MAX_UNTOLD else None

    def add(self, begun: BegunWalk) -> None:
        """Only while it is not `full`."""
        if self.full:
            raise RuntimeError(f"{MAX_WALKS} walks are under way already")
        self._walks.append(begun)

    def stepped(self, begun: BegunWalk, message: Message | None) -> None:
        """A step is over; None: so is the walk. What was ended meanwhile has no more to say."""
        if begun not in self._walks:
            return
        if message is None:
            self._walks.remove(begun)
        else:
            self._untold.append(_Untold(message, begun.after_frame_id))

    def end(self, edit_id: int, status: status_pb2.Status) -> bool:
        """End a walk before its time; False if there is none of that edit."""
        found = next((each for each in self._walks if each.edit_id == edit_id), None)
        if found is None:
            return False
        self._walks.remove(found)
        self._untold.append(_Untold(found.walk.ended(status), found.after_frame_id))
        return True

    def end_all(self, status: status_pb2.Status) -> None:
        """End every walk before its time."""
        for each in list(self._walks):
            self.end(each.edit_id, status)

    def may_tell(self, last_told: int) -> bool:
        """True if `tell` has something to give to a client that was told of that frame."""
        return bool(self._untold) and self._untold[0].after_frame_id <= last_told

    def tell(self) -> Message:
        """The next message for the client."""
        return self._untold.popleft().message


def stopped_by(edit: Any) -> int | None:
    """The edit whose walk is to be stopped; None if this edit does something else."""
    if "stop" not in edit.DESCRIPTOR.fields_by_name or not edit.HasField("stop"):
        return None
    edit_id: int = edit.stop.propagation_edit_id
    return edit_id
