"""SegmentImage: masks of one picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

from kinemask import wire
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.media import decode_image

from kinemask_segmenter.engines.base import ObjectMask, Prompt, SegmenterEngine
from kinemask_segmenter.engines.everything import EverythingOptions
from kinemask_segmenter.messages import mask_to_message, prompt_from_message
from kinemask_segmenter.threads import OffLoop

Request = segmenter_pb2.SegmentImageRequest
Response = segmenter_pb2.SegmentImageResponse
EverythingRequest = segmenter_pb2.SegmentEverythingRequest
EverythingResponse = segmenter_pb2.SegmentEverythingResponse


class ImageSegmenter:
    """Invariant: at most `max_waiting` pictures are in work or waiting."""

    def __init__(self, executor: Executor, max_pixels: int, max_waiting: int) -> None:
        self._off_loop = OffLoop(executor)
        self._max_pixels = max_pixels
        self._max_waiting = max_waiting
        self._waiting = 0

    async def segment(self, engine: SegmenterEngine, request: Request) -> Response:
        """The answer without its `service`.

        Raises:
            ServiceError: INVALID_ARGUMENT (picture or prompts), RESOURCE_EXHAUSTED (queue full).
        """
        with self._place():
            begun_s = time.monotonic()
            image, prompts = await self._off_loop.run(self._read, request)
            read_s = time.monotonic()
            found = await self._off_loop.to_the_end(
                engine.segment_image(image, prompts, request.candidates or 1)
            )
            inferred_s = time.monotonic()
            results = await self._off_loop.run(_results, request, found.candidates)
            timing = media_pb2.Timing(
                decode_ms=(read_s - begun_s) * 1e3,
                infer_ms=(inferred_s - read_s) * 1e3,
                encode_ms=(time.monotonic() - inferred_s) * 1e3,
            )
        height, width = image.shape[:2]
        return Response(
            results=results,
            width=width,
            height=height,
            timing=timing,
            embedding_cached=found.embedding_cached,
        )

    async def segment_everything(
        self, engine: SegmenterEngine, request: EverythingRequest
    ) -> EverythingResponse:
        """The answer without its `service`.

        Raises:
            ServiceError: as `segment`; UNIMPLEMENTED: the engine cannot.
        """
        with self._place():
            begun_s = time.monotonic()
            image = await self._off_loop.run(decode_image, request.image, self._max_pixels)
            read_s = time.monotonic()
            try:
                found = await self._off_loop.to_the_end(
                    engine.segment_everything(image, _everything_options(request))
                )
            except NotImplementedError as error:
                raise errors.unimplemented(
                    f"{error}; automatic masks of a whole picture need the sam2 engine",
                    reason="EVERYTHING_UNSUPPORTED",
                ) from error
            inferred_s = time.monotonic()
            masks = await self._off_loop.run(_masks, request, found)
            timing = media_pb2.Timing(
                decode_ms=(read_s - begun_s) * 1e3,
                infer_ms=(inferred_s - read_s) * 1e3,
                encode_ms=(time.monotonic() - inferred_s) * 1e3,
            )
        height, width = image.shape[:2]
        return EverythingResponse(masks=masks, width=width, height=height, timing=timing)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._waiting >= self._max_waiting:
            raise errors.exhausted(
                f"{self._max_waiting} pictures wait already", reason="QUEUE_FULL", retry_after_s=0.5
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _read(self, request: Request) -> tuple[wire.RgbImage, list[Prompt]]:
        image = decode_image(request.image, self._max_pixels)
        height, width = image.shape[:2]
        prompts = [
            prompt_from_message(message, height, width, f"prompts[{index}]")
            for index, message in enumerate(request.prompts)
        ]
        return image, prompts


def _results(
    request: Request, found: Sequence[Sequence[ObjectMask]]
) -> list[segmenter_pb2.PromptMasks]:
    """One entry a prompt; ids are the request's, which need not differ."""
    return [
        segmenter_pb2.PromptMasks(
            object_id=prompt.object_id,
            candidates=[
                mask_to_message(mask, request.mask_encoding, prompt.object_id) for mask in masks
            ],
        )
        for prompt, masks in zip(request.prompts, found, strict=True)
    ]


def _everything_options(request: EverythingRequest) -> EverythingOptions:
    usual = EverythingOptions()
    return EverythingOptions(
        points_per_side=request.points_per_side or usual.points_per_side,
        score_threshold=request.score_threshold
        if request.HasField("score_threshold")
        else usual.score_threshold,
        stability_threshold=request.stability_threshold
        if request.HasField("stability_threshold")
        else usual.stability_threshold,
        overlap_threshold=request.overlap_threshold
        if request.HasField("overlap_threshold")
        else usual.overlap_threshold,
        min_area_px=request.min_area_px,
    )


def _masks(
    request: EverythingRequest, found: Sequence[ObjectMask]
) -> list[segmenter_pb2.ObjectMask]:
    return [mask_to_message(mask, request.mask_encoding, mask.object_id) for mask in found]
