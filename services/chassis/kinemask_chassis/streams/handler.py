"""What a service supplies for one bidirectional stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message
from kinemask.v1 import media_pb2, streams_pb2

from kinemask_chassis.streams.walks import Walk

FrameT = TypeVar("FrameT", bound=Message)
EditT = TypeVar("EditT", bound=Message)
PreparedT = TypeVar("PreparedT")
RawT = TypeVar("RawT")
_FrameT = TypeVar("_FrameT", bound=Message, contravariant=True)
_EditT = TypeVar("_EditT", bound=Message, contravariant=True)


class StreamHandler(Protocol[_FrameT, _EditT, PreparedT, RawT]):
    """One stream's work. The runner calls `step`, `apply` and `snapshot` one at a time.

    A `ServiceError` from `prepare`, `step`, `finish` or `apply` is answered in-band; the stream
    lives. `prepare` and `finish` of neighbouring frames run beside `step`.
    """

    @property
    def depth(self) -> int:
        """Frames that may be in work at once: at least 1."""
        ...

    async def prepare(self, frame: _FrameT) -> PreparedT:
        """What needs no state: decoding, say. May run ahead of its turn."""
        ...

    async def step(self, frame: _FrameT, prepared: PreparedT) -> RawT:
        """Take the frame, in frame order."""
        ...

    async def finish(self, frame: _FrameT, raw: RawT) -> Message:
        """The result message; the runner fills in its `timing`, or adds the waiting to it."""
        ...

    async def apply(self, edit: _EditT, frame_id: int, prepared: PreparedT | None) -> int | Walk:
        """Apply an edit and return the object id it was about (0 for none), or the walk it began.

        With `prepared`, the frame is about to be stepped, and the edit is answered with what comes
        of that step. Without, it lies in the past, or was never worked on: land there if it is
        retained, otherwise refuse.
        """
        ...

    async def snapshot(self) -> bytes:
        """The state after the last step."""
        ...

    async def close(self) -> None:
        """Free everything. Called once, also after a failure or cancellation."""
        ...


@dataclass(frozen=True)
class StreamPlan(Generic[FrameT, EditT, PreparedT, RawT]):
    """What a service decided when it had read a stream's config."""

    handler: StreamHandler[FrameT, EditT, PreparedT, RawT]
    started: Message
    """The first reply, with the config as it holds; the runner fills in its `terms`."""
    service: media_pb2.ServiceInfo


class StreamObserver(Protocol):
    """Hears what happens on a stream; the metrics listen here."""

    def frames_in(self, count: int) -> None: ...
    def frames_out(self, count: int) -> None: ...
    def frames_failed(self, count: int) -> None: ...
    def frames_dropped(self, count: int) -> None: ...


class StreamConfig(Protocol):
    """Every stream's config message."""

    @property
    def stream(self) -> streams_pb2.StreamOptions: ...
