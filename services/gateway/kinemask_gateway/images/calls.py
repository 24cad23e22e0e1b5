"""Single calls to the services behind; a replica that is gone is passed over once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2
from kinemask.v1 import (
    captioner_pb2,
    captioner_pb2_grpc,
    detector_pb2,
    detector_pb2_grpc,
    faces_pb2,
    faces_pb2_grpc,
    segmenter_pb2,
    segmenter_pb2_grpc,
)
from kinemask_chassis import errors
from kinemask_chassis.downstream import call_options

from kinemask_gateway.downstream import Downstream

ReplyT = TypeVar("ReplyT")


class PictureCalls:
    """Every method raises ServiceError: what the service said, or that it is not there."""

    def __init__(self, downstream: Downstream, timeout_s: float) -> None:
        """`timeout_s`: of each call, where the client's deadline is not sooner."""
        self._pools = downstream.pools
        self._timeout_s = timeout_s

    async def detect(self, request: detector_pb2.DetectRequest) -> detector_pb2.DetectResponse:
        """Boxes from words, of one picture; its own error is raised."""
        reply = await self._call(
            "detector",
            lambda channel, options: detector_pb2_grpc.DetectorServiceStub(channel).Detect(
                request, **options
            ),
        )
        _raise(reply.results[0].error)
        return reply

    async def segment(
        self, request: segmenter_pb2.SegmentImageRequest
    ) -> segmenter_pb2.SegmentImageResponse:
        """Masks of what is prompted."""
        return await self._call(
            "segmenter",
            lambda channel, options: segmenter_pb2_grpc.SegmenterServiceStub(channel).SegmentImage(
                request, **options
            ),
        )

    async def everything(
        self, request: segmenter_pb2.SegmentEverythingRequest
    ) -> segmenter_pb2.SegmentEverythingResponse:
        """Masks of everything."""
        return await self._call(
            "segmenter",
            lambda channel, options: segmenter_pb2_grpc.SegmenterServiceStub(
                channel
            ).SegmentEverything(request, **options),
        )

    async def find_faces(
        self, request: faces_pb2.DetectFacesRequest
    ) -> faces_pb2.DetectFacesResponse:
        """Faces of one picture; its own error is raised."""
        reply = await self._call(
            "faces",
            lambda channel, options: faces_pb2_grpc.FacesServiceStub(channel).DetectFaces(
                request, **options
            ),
        )
        _raise(reply.results[0].error)
        return reply

    async def recognise(self, request: faces_pb2.RecogniseRequest) -> faces_pb2.RecogniseResponse:
        """Named faces of one picture; its own error is raised."""
        reply = await self._call(
            "faces",
            lambda channel, options: faces_pb2_grpc.FacesServiceStub(channel).Recognise(
                request, **options
            ),
        )
        _raise(reply.results[0].error)
        return reply

    async def caption(self, request: captioner_pb2.CaptionRequest) -> captioner_pb2.CaptionResponse:
        """Words for one picture; its own error is raised."""
        reply = await self._call(
            "captioner",
            lambda channel, options: captioner_pb2_grpc.CaptionerServiceStub(channel).Caption(
                request, **options
            ),
        )
        _raise(reply.results[0].error)
        return reply

    async def _call(
        self,
        service: str,
        call: Callable[[grpc.aio.Channel, dict[str, Any]], Awaitable[ReplyT]],
    ) -> ReplyT:
        for last_try in (False, True):
            try:
                channel = self._pools[service].next_channel()
                return await call(channel, call_options(self._timeout_s).as_arguments())
            except grpc.aio.AioRpcError as error:
                if last_try or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise errors.from_status(errors.status_from_exception(error)) from error
            except LookupError as error:
                raise errors.unavailable(str(error), reason=f"NO_{service.upper()}") from error
        raise AssertionError("the second try either returned or raised")


def _raise(status: status_pb2.Status) -> None:
    if status.code:
        raise errors.from_status(status)
