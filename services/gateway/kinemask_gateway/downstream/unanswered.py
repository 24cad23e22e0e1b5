"""What a stream has sent and not heard of yet, and how an answer can turn out."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2


class FrameFailed(Exception):
    """A frame was answered with an error; the stream lives."""

    def __init__(self, frame_id: int, status: status_pb2.Status) -> None:
        super().__init__(f"frame {frame_id}: {status.message}")
        self.frame_id = frame_id
        self.status = status


class FrameSkipped(FrameFailed):
    """A frame was not worked on: newer ones came, or the window was exceeded."""


class EditRefused(Exception):
    """An edit was answered with an error; the stream lives."""

    def __init__(self, edit_id: int, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.edit_id = edit_id
        self.status = status


class StreamLost(Exception):
    """The rpc ended without a GoAway; `cause` is the rpc's error, if there was one."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__(str(cause) if cause else "the server ended the stream")
        self.cause = cause


@dataclass(eq=False)
class Unanswered:
    """What was sent and not answered yet, in the order it was sent."""

    frames: dict[int, tuple[Message, asyncio.Future[Any]]] = field(default_factory=dict)
    """By frame id: the request, and the future of its result."""
    edits: dict[int, tuple[Message, asyncio.Future[Any]]] = field(default_factory=dict)
    """By edit id."""
    order: deque[tuple[str, int]] = field(default_factory=deque)
    """`("frame" | "edit", id)` as sent; answered ones are passed over."""

    def add(self, kind: str, key: int, request: Message) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # An answer nobody waits for any more is no error of the event loop's.
        future.add_done_callback(consume)
        (self.frames if kind == "frame" else self.edits)[key] = (request, future)
        self.order.append((kind, key))
        return future

    def requests(self) -> list[Message]:
        """Every request that is to be sent again, in order."""
        held = {"frame": self.frames, "edit": self.edits}
        self.order = deque((kind, key) for kind, key in self.order if key in held[kind])
        return [held[kind][key][0] for kind, key in self.order]

    def trim(self) -> None:
        """Forget the order of what was answered at the front."""
        held = {"frame": self.frames, "edit": self.edits}
        while self.order and self.order[0][1] not in held[self.order[0][0]]:
            self.order.popleft()

    def fail(self, error: BaseException) -> None:
        for _, future in [*self.frames.values(), *self.edits.values()]:
            if not future.done():
                future.set_exception(error)
        self.frames.clear()
        self.edits.clear()
        self.order.clear()


def consume(future: asyncio.Future[Any]) -> None:
    """Look at an answer that nobody may wait for, so that the event loop does not complain."""
    if not future.cancelled():
        future.exception()
