"""One enrolment stream through a PostgreSQL that is killed again and again."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

import grpc
from kinemask.v1 import faces_pb2 as pb

from benchmarks.numbered_faces import source

if TYPE_CHECKING:
    from kinemask.v1.faces_pb2_grpc import FacesServiceAsyncStub

_WINDOW = 8
_PEOPLE = 50
_DOWN_S = 1.0
_PAUSE_S = 0.2


class Killable(Protocol):
    """A PostgreSQL in a folder."""

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, at once."""
        ...

    def start(self) -> None:
        """Start it again; returns when it takes connections."""
        ...


async def enrol_through_kills(
    stub: FacesServiceAsyncStub, server: Killable, gallery_id: str, samples: int, kills: int
) -> dict[str, float]:
    """Enrol so many samples, sending again what was UNAVAILABLE, until all are accepted.

    Raises:
        AssertionError: a sample was refused, or failed for another reason.
    """
    stream = _Stream(stub, gallery_id, samples)
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.run())
        killing = group.create_task(_kill(stream, server, samples, kills))
    return {
        "kills": killing.result(),
        "stream_accepted": len(stream.accepted),
        "stream_sent_again": stream.sent_again,
    }


class _Stream:
    """The client's end."""

    def __init__(self, stub: FacesServiceAsyncStub, gallery_id: str, samples: int) -> None:
        self._call = stub.EnrolStream()
        self._gallery_id = gallery_id
        self._waiting = deque(range(samples))
        self._sent: dict[int, int] = {}
        self._next_frame = 1
        self.accepted: set[str] = set()
        self.sent_again = 0
        self.moved = asyncio.Event()

    async def run(self) -> None:
        """To the end."""
        config = pb.EnrolStreamConfig(gallery_id=self._gallery_id, create_people=True)
        config.stream.window = _WINDOW
        await self._call.write(pb.EnrolStreamRequest(config=config))
        started = await self._call.read()
        assert isinstance(started, pb.EnrolStreamResponse)
        window = started.started.terms.window
        while self._waiting or self._sent:
            while self._waiting and len(self._sent) < window:
                await self._send(self._waiting.popleft())
            await self._read()
        await self._call.done_writing()

    async def _send(self, number: int) -> None:
        frame = pb.EnrolFrame(frame_id=self._next_frame, person_id=f"streamed{number % _PEOPLE}")
        frame.sample.face.CopyFrom(source(2**40 + number * 2**20 + number))
        frame.sample.source = "stream"
        frame.sample.min_quality = 0.0
        self._sent[self._next_frame] = number
        self._next_frame += 1
        await self._call.write(pb.EnrolStreamRequest(frame=frame))

    async def _read(self) -> None:
        reply = await self._call.read()
        if not isinstance(reply, pb.EnrolStreamResponse):  # EOF
            raise AssertionError("the stream ended before everything was accepted")
        kind = reply.WhichOneof("message")
        if kind == "result" and reply.result.outcome.HasField("accepted"):
            del self._sent[reply.result.frame_id]
            self.accepted.add(reply.result.outcome.accepted.sample_id)
            self.moved.set()
        elif kind == "error" and reply.error.status.code == grpc.StatusCode.UNAVAILABLE.value[0]:
            self._waiting.append(self._sent.pop(reply.error.frame_id))
            self.sent_again += 1
            await asyncio.sleep(_PAUSE_S)
        else:
            raise AssertionError(f"expected an accepted sample or UNAVAILABLE, got {reply}")


async def _kill(stream: _Stream, server: Killable, samples: int, kills: int) -> int:
    """Kill the server each time that so much more was accepted; how often it was."""
    for kill in range(1, kills + 1):
        while len(stream.accepted) < samples * kill // (kills + 1):
            stream.moved.clear()
            await stream.moved.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(_DOWN_S)
        await asyncio.to_thread(server.start)
    return kills
