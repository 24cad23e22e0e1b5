"""A service whose one rpc of each kind does what the request's text says; also runs by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from kinemask.v1 import segmenter_pb2, segmenter_pb2_grpc
from kinemask_chassis import context as rpc_context
from kinemask_chassis import errors
from kinemask_chassis.launch import main
from kinemask_chassis.server import Service
from kinemask_chassis.settings import ChassisSettings

ECHO = "kinemask.test.Echo"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def obey(text: str, context: Context) -> StringValue:
    """Do what the text says, and answer with it."""
    if text == "refuse":
        raise errors.exhausted("full", "QUEUE_FULL", retry_after_s=1.5)
    if text == "boom":
        raise ValueError("the secret is xyzzy")
    if text == "forever":
        await asyncio.Event().wait()
    if text == "write-late":
        await write_late(context)
    if text == "abort":
        await context.abort(grpc.StatusCode.DATA_LOSS, "by hand")
    if text == "inner-cancel":
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting
    if text == "context":
        text = f"{rpc_context.request_id()} {rpc_context.remaining_s()}"
    return StringValue(value=text)


async def write_late(context: Context) -> None:
    """Write to a client that has gone, as a handler does that has not heard of it yet."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        await context.write(StringValue(value="late"))


class Segmenter(segmenter_pb2_grpc.SegmenterServiceServicer):
    """Only one rpc is written; the others are as they were generated."""

    async def SegmentImage(
        self, request: segmenter_pb2.SegmentImageRequest, context: Context
    ) -> segmenter_pb2.SegmentImageResponse:
        return segmenter_pb2.SegmentImageResponse(width=len(request.prompts))


class EchoService(Service[ChassisSettings]):
    """Counts what its life brings."""

    name = "echo"
    rpc_services = (ECHO, "kinemask.v1.SegmenterService")

    def __init__(self, settings: ChassisSettings) -> None:
        super().__init__(settings)
        self.may_warm_up = asyncio.Event()
        self.may_warm_up.set()
        self.leave = asyncio.Event()
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.life: list[str] = []

    async def warm_up(self) -> None:
        how = os.environ.get("KINEMASK_TEST_WARM_UP")
        if how == "fail":
            raise errors.failed_precondition("the weights are not there", reason="NO_WEIGHTS")
        if how == "forever":
            await asyncio.Event().wait()
        await self.may_warm_up.wait()
        self.life.append("warm")

    async def on_drain(self, grace_s: float) -> None:
        self.life.append("drain")
        self.leave.set()

    async def close(self) -> None:
        self.life.append("closed")

    def register(self, server: grpc.aio.Server) -> None:
        segmenter: Any = Segmenter  # abstract to mypy: most of its rpcs are not written, on purpose
        segmenter_pb2_grpc.add_SegmenterServiceServicer_to_server(segmenter(), server)
        makers: dict[str, tuple[Any, Any]] = {
            "Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
            "Down": (grpc.unary_stream_rpc_method_handler, self.down),
            "Up": (grpc.stream_unary_rpc_method_handler, self.up),
            "Flood": (grpc.unary_stream_rpc_method_handler, self.flood),
            "Both": (grpc.stream_stream_rpc_method_handler, self.both),
        }
        handlers = {
            name: make(behavior, StringValue.FromString, StringValue.SerializeToString)
            for name, (make, behavior) in makers.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ECHO, handlers),))

    async def unary(self, request: StringValue, context: Context) -> StringValue:
        self.began.put_nowait(request.value)
        try:
            if request.value == "until-leave":
                await self.leave.wait()
            return await obey(request.value, context)
        finally:
            self.ended.put_nowait(request.value)

    async def down(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        for word in request.value.split(","):
            yield await obey(word, context)

    async def flood(self, request: StringValue, context: Context) -> None:
        """Write megabytes until the client has not read for a while."""
        self.began.put_nowait("flood")
        try:
            while True:
                async with asyncio.timeout(0.2):
                    await context.write(StringValue(value="x" * 2**20))
        except TimeoutError:
            raise errors.exhausted("the client does not read", "CLIENT_STALLED") from None

    async def up(self, requests: AsyncIterator[StringValue], context: Context) -> StringValue:
        texts = [(await obey(request.value, context)).value async for request in requests]
        return StringValue(value=",".join(texts))

    async def both(
        self, requests: AsyncIterator[StringValue], context: Context
    ) -> AsyncIterator[StringValue]:
        """Echo; when the service leaves, say so and end."""
        try:
            leaving = asyncio.ensure_future(self.leave.wait())
            while True:
                reading = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    yield StringValue(value="go away")
                    return
                if (request := reading.result()) is None:
                    return
                yield await obey(request.value, context)
        finally:
            leaving.cancel()
            self.ended.put_nowait("both")


if __name__ == "__main__":
    sys.exit(main(EchoService, ChassisSettings))
