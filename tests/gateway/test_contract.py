"""The client's side of the stream contract in the gateway: what is said while a stream moves."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message
from kinemask.v1 import media_pb2, segmenter_pb2, streams_pb2
from kinemask_gateway.downstream.contract import ContractStream

from tests.stream_kit import eventually

Reply = segmenter_pb2.SegmentVideoResponse
STARTED = Reply(started=segmenter_pb2.SegmentVideoStarted())


class FakeCall:
    """An rpc whose server's words are put into `replies`."""

    def __init__(self, *replies: Message) -> None:
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        for reply in replies:
            self.replies.put_nowait(reply)
        self.written: list[segmenter_pb2.SegmentVideoRequest] = []

    async def write(self, request: segmenter_pb2.SegmentVideoRequest) -> None:
        await asyncio.sleep(0)  # as grpc does: others run meanwhile
        self.written.append(request)

    async def read(self) -> Any:
        return await self.replies.get()

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def cancel(self) -> None:
        return

    @property
    def frame_ids(self) -> list[int]:
        return [each.frame.frame_id for each in self.written if each.HasField("frame")]

    @property
    def asks(self) -> int:
        return sum(each.HasField("snapshot") for each in self.written)


def frame(number: int) -> media_pb2.Frame:
    return media_pb2.Frame(frame_id=number)


async def test_what_is_said_during_a_move_is_sent_once_and_in_order() -> None:
    first, second = FakeCall(STARTED), FakeCall()
    calls = iter([first, second])
    stream = ContractStream(
        lambda: next(calls),
        segmenter_pb2.SegmentVideoRequest,
        segmenter_pb2.SegmentVideoConfig(),
    )
    await stream.open()
    answers = [await stream.send_frame(frame(0))]
    first.replies.put_nowait(Reply(go_away=streams_pb2.GoAway(resume_token=b"state")))
    await eventually(lambda: bool(second.written))  # the move waits for the second's first word
    saying = [asyncio.create_task(stream.send_frame(frame(n))) for n in (1, 2)]
    asking = asyncio.create_task(stream.snapshot())
    await asyncio.sleep(0)
    second.replies.put_nowait(STARTED)
    await eventually(lambda: len(second.written) >= 3)
    saying.append(asyncio.create_task(stream.send_frame(frame(3))))  # while it sends again
    answers += [await each for each in saying]
    snapshot = await asking
    for number in range(4):
        result = segmenter_pb2.SegmentVideoResult(frame_id=number)
        second.replies.put_nowait(Reply(result=result))
    second.replies.put_nowait(Reply(snapshot=streams_pb2.StreamSnapshot(resume_token=b"new")))
    assert [(await each).frame_id for each in answers] == [0, 1, 2, 3]
    assert (await snapshot).resume_token == b"new"
    assert (first.frame_ids, second.frame_ids, second.asks) == ([0], [0, 1, 2, 3], 1)
    await stream.close()
