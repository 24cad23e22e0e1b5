"""ImageService: one picture, sent along or out of a stored video, and what is asked about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from kinemask import wire
from kinemask.v1 import images_pb2, images_pb2_grpc, media_pb2, videos_pb2
from kinemask_chassis import errors, media

from kinemask_gateway.images.analysis import analyse, check
from kinemask_gateway.images.annotation import Annotation
from kinemask_gateway.images.calls import PictureCalls
from kinemask_gateway.images.parts import Parts
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.selection import selected_frame


@dataclass(frozen=True)
class _Source:
    """The picture an analysis is about."""

    image: media_pb2.Image
    """As the services get it."""
    rgb: wire.RgbImage
    frame_index: int | None = None
    time_us: int | None = None


class ImageServicer(images_pb2_grpc.ImageServiceServicer):
    """Serves Analyze; without a library only pictures that are sent along."""

    def __init__(self, calls: PictureCalls, library: Library | None, max_pixels: int) -> None:
        self._calls = calls
        self._library = library
        self._max_pixels = max_pixels

    async def Analyze(
        self, request: images_pb2.AnalyzeRequest, context: Any
    ) -> images_pb2.AnalyzeResponse:
        check(request)
        annotation = Annotation(request.annotated) if request.HasField("annotated") else None
        source = await self._source(request)
        height, width = source.rgb.shape[:2]
        _check_prompts(request.segment, height, width)
        response = images_pb2.AnalyzeResponse(
            width=width, height=height, frame_index=source.frame_index, time_us=source.time_us
        )
        hidden = request.mask_encoding == media_pb2.MASK_ENCODING_NONE and annotation is not None
        # What is to be drawn has to come, even where the client does not want to see it.
        encoding = media_pb2.MASK_ENCODING_RLE if hidden else request.mask_encoding
        await analyse(request, Parts(self._calls, source.image, encoding), response)
        if annotation is not None:
            drawn = await asyncio.to_thread(annotation.draw, source.rgb, response)
            response.annotated.encoded = drawn
        if hidden:
            _without_masks(response)
        return response

    async def _source(self, request: images_pb2.AnalyzeRequest) -> _Source:
        if request.WhichOneof("source") == "video_frame":
            return await self._stored(request.video_frame)
        rgb = await asyncio.to_thread(media.decode_image, request.image, self._max_pixels, "image")
        return _Source(request.image, rgb)

    async def _stored(self, wanted: videos_pb2.VideoFrame) -> _Source:
        if self._library is None:
            why = "this gateway keeps no videos: see KINEMASK_LIBRARY"
            raise errors.failed_precondition(why, reason="NO_LIBRARY")
        number = await selected_frame(self._library, wanted.video_id, wanted.frame)
        frame = await self._library.frame(wanted.video_id, number)
        time_us = await self._library.time_us(wanted.video_id, number)
        image = await asyncio.to_thread(wire.image_to_message, frame.image, None)
        return _Source(image, frame.image, number, time_us)


def _check_prompts(options: images_pb2.SegmentOptions, height: int, width: int) -> None:
    """Raises ServiceError INVALID_ARGUMENT for a prompt outside the picture."""
    for index, prompt in enumerate(options.prompts):
        field = f"segment.prompts[{index}]"
        if prompt.HasField("box"):
            media.check_box(prompt.box, height, width, f"{field}.box")
        for number, point in enumerate(prompt.points):
            media.check_point(point, height, width, f"{field}.points[{number}]")


def _without_masks(response: images_pb2.AnalyzeResponse) -> None:
    """Leave out the pixels; boxes and scores stay."""
    found = [*response.everything.masks]
    found += [mask for prompt in response.segment.results for mask in prompt.candidates]
    found += [one.mask for one in (*response.instances.instances, *response.object.instances)]
    for mask in found:
        mask.ClearField("mask")
