"""Calls of a session on the segmenter behind, always on the same replica while it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2, segmenter_pb2_grpc
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.annotations.held import HeldSession
from kinemask_gateway.downstream import ReplicaPool
from kinemask_gateway.downstream.contract import ContractStream
from kinemask_gateway.downstream.unanswered import StreamLost

ReplyT = TypeVar("ReplyT")

WINDOW = 16
_DOWN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
_RETRY_S = 1.0


def stream_config(options: pb.SessionOptions) -> segmenter_pb2.SegmentVideoConfig:
    """The stream behind a session."""
    config = segmenter_pb2.SegmentVideoConfig(
        mask_encoding=media_pb2.MASK_ENCODING_RLE,
        model=options.model,
        memory_policy=options.memory_policy,
        tier=options.tier,
        input_size_px=options.input_size_px,
        max_objects=options.max_objects,
    )
    config.stream.window = WINDOW
    return config


class SegmenterCalls:
    """Every method raises ServiceError: what the service said, or that it is not there."""

    def __init__(self, pool: ReplicaPool, timeout_s: float, open_timeout_s: float) -> None:
        """`timeout_s`: of each call; `open_timeout_s`: for a stream to be opened."""
        self._pool = pool
        self._timeout_s = timeout_s
        self._open_timeout_s = open_timeout_s

    async def segment(
        self, held: HeldSession, request: segmenter_pb2.SegmentImageRequest
    ) -> segmenter_pb2.SegmentImageResponse:
        """Masks of what is prompted on one frame."""
        reply: segmenter_pb2.SegmentImageResponse = await self._call(
            held,
            lambda channel, options: segmenter_pb2_grpc.SegmenterServiceStub(channel).SegmentImage(
                request, **options
            ),
        )
        return reply

    async def check(
        self, options: pb.SessionOptions
    ) -> tuple[pb.SessionOptions, media_pb2.ServiceInfo]:
        """Open a stream and end it: the options as they hold, and who serves."""
        stream = await self._opened(options)
        try:
            config = stream.started.config
            held = pb.SessionOptions(
                model=config.model,
                memory_policy=config.memory_policy,
                tier=config.tier,
                input_size_px=config.input_size_px,
                max_objects=config.max_objects,
            )
            return held, stream.started.terms.service
        finally:
            await stream.close()

    async def stream(self, options: pb.SessionOptions, token: bytes) -> ContractStream:
        """A stream, going on from a token if there is one.

        Raises:
            grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError: it cannot be opened.
        """

        def dial() -> grpc.aio.StreamStreamCall[
            segmenter_pb2.SegmentVideoRequest, segmenter_pb2.SegmentVideoResponse
        ]:
            stub = segmenter_pb2_grpc.SegmenterServiceStub(self._pool.next_channel())
            return stub.SegmentVideo(**call_options().as_arguments())

        config = stream_config(options)
        stream = ContractStream(dial, segmenter_pb2.SegmentVideoRequest, config)
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await stream.open(token)
        except BaseException:
            await stream.close()
            raise
        return stream

    async def _opened(self, options: pb.SessionOptions) -> ContractStream:
        await self._pool.settle()
        try:
            return await self.stream(options, b"")
        except (grpc.aio.AioRpcError, StreamLost, LookupError, TimeoutError) as error:
            raise as_service_error(error) from error

    async def _call(
        self,
        held: HeldSession,
        call: Callable[[grpc.aio.Channel, dict[str, Any]], Awaitable[ReplyT]],
    ) -> ReplyT:
        for last_try in (False, True):
            try:
                channel = self._channel(held, again=last_try)
                return await call(channel, call_options(self._timeout_s).as_arguments())
            except grpc.aio.AioRpcError as error:
                if last_try or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise as_service_error(error) from error
                held.channel = None
                await self._pool.settle()
            except LookupError as error:
                raise as_service_error(error) from error
        raise AssertionError("the second try either returned or raised")

    def _channel(self, held: HeldSession, *, again: bool) -> grpc.aio.Channel:
        if again or held.channel is None or held.channel.get_state() in _DOWN:
            held.channel = self._pool.next_channel()
        return held.channel


def as_service_error(error: BaseException) -> errors.ServiceError:
    """What a client is told of a call or stream that failed."""
    if isinstance(error, StreamLost) and error.cause is not None:
        return as_service_error(error.cause)
    if isinstance(error, errors.ServiceError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        told = errors.from_status(errors.status_from_exception(error))
        if told.code is not grpc.StatusCode.UNAVAILABLE:
            return told
    return errors.unavailable(
        "no segmenter replica serves now", reason="SEGMENTER_DOWN", retry_after_s=_RETRY_S
    )
