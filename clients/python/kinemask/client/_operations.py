"""The single calls of the API as operations, for either client to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemask import config, results, types
from kinemask.client import _decode, _encode
from kinemask.client._calls import Operation
from kinemask.errors import (
    DeadlineExceededError,
    ErrorInfo,
    InternalError,
    KinemaskError,
    UnavailableError,
)
from kinemask.v1 import (
    captioner_pb2,
    captioner_pb2_grpc,
    detector_pb2,
    detector_pb2_grpc,
    faces_pb2,
    faces_pb2_grpc,
    live_pb2,
    live_pb2_grpc,
    segmenter_pb2,
    segmenter_pb2_grpc,
)

if TYPE_CHECKING:
    from kinemask.types import ImageLike

ModelService: TypeAlias = Literal["detector", "segmenter", "faces", "captioner"]
PictureT = TypeVar("PictureT", results.Detections, results.Caption)


def detect(
    images: Sequence[ImageLike], stage: config.DetectStage, jpeg_quality: int | None
) -> Operation[list[results.Detections]]:
    """DetectorService.Detect: one entry a picture, in order."""
    request = detector_pb2.DetectRequest(
        images=[_encode.image(image, jpeg_quality) for image in images],
        options=_encode.detect_options(stage),
    )

    def decode(response: detector_pb2.DetectResponse, request_id: str) -> list[results.Detections]:
        return [
            _decode.detections(found, response.service, request_id) for found in response.results
        ]

    return Operation(detector_pb2_grpc.DetectorServiceStub, "Detect", request, decode)


def caption(
    images: Sequence[ImageLike], options: config.CaptionOptions, jpeg_quality: int | None
) -> Operation[list[results.Caption]]:
    """CaptionerService.Caption: one entry a picture, in order."""
    request = captioner_pb2.CaptionRequest(
        images=[_encode.image(image, jpeg_quality) for image in images],
        options=_encode.caption_options(options),
    )

    def decode(response: captioner_pb2.CaptionResponse, request_id: str) -> list[results.Caption]:
        return [_decode.caption(one, response.service, request_id) for one in response.results]

    return Operation(captioner_pb2_grpc.CaptionerServiceStub, "Caption", request, decode)


def only(batch: list[PictureT]) -> PictureT:
    """The result of a batch of one; raises the picture's error."""
    if len(batch) != 1:
        info = ErrorInfo(reason="WRONG_RESULT_COUNT")
        raise InternalError(f"expected 1 result for 1 picture, found {len(batch)}", info=info)
    if batch[0].error is not None:
        raise batch[0].error
    return batch[0]


def segment(
    image: ImageLike,
    prompts: Sequence[types.Prompt],
    candidates: int,
    model: str,
    mask_encoding: types.MaskEncodingName,
    jpeg_quality: int | None,
) -> Operation[results.Segmentation]:
    """SegmenterService.SegmentImage."""
    request = segmenter_pb2.SegmentImageRequest(
        image=_encode.image(image, jpeg_quality),
        prompts=_encode.numbered_prompts(prompts),
        candidates=candidates,
        mask_encoding=_encode.mask_encoding(mask_encoding),
        model=model,
    )
    labels = [prompt.label for prompt in prompts]

    def decode(response: segmenter_pb2.SegmentImageResponse, _: str) -> results.Segmentation:
        return _decode.segmentation(response, labels)

    return Operation(segmenter_pb2_grpc.SegmenterServiceStub, "SegmentImage", request, decode)


def segment_everything(
    image: ImageLike, options: config.EverythingOptions, jpeg_quality: int | None
) -> Operation[results.Segmentation]:
    """SegmenterService.SegmentEverything."""
    request = segmenter_pb2.SegmentEverythingRequest(
        image=_encode.image(image, jpeg_quality),
        points_per_side=options.points_per_side,
        score_threshold=options.score_threshold,
        stability_threshold=options.stability_threshold,
        overlap_threshold=options.overlap_threshold,
        min_area_px=options.min_area_px,
        mask_encoding=_encode.mask_encoding(options.mask_encoding),
        model=options.model,
    )
    stub = segmenter_pb2_grpc.SegmenterServiceStub
    return Operation(stub, "SegmentEverything", request, lambda found, _: _decode.everything(found))


def services() -> Operation[types.Services]:
    """LiveService.ListServices."""
    request = live_pb2.ListServicesRequest()
    stub = live_pb2_grpc.LiveServiceStub
    return Operation(stub, "ListServices", request, lambda found, _: _decode.services(found))


def models(service: ModelService) -> Operation[list[types.ModelInfo]]:
    """ListModels of one service."""

    def decode(
        response: detector_pb2.DetectorServiceListModelsResponse, _: str
    ) -> list[types.ModelInfo]:
        return [_decode.model_info(model) for model in response.models]

    if service == "detector":
        wanted = detector_pb2.DetectorServiceListModelsRequest()
        return Operation(detector_pb2_grpc.DetectorServiceStub, "ListModels", wanted, decode)
    if service == "segmenter":
        asked = segmenter_pb2.SegmenterServiceListModelsRequest()
        return Operation(segmenter_pb2_grpc.SegmenterServiceStub, "ListModels", asked, decode)
    if service == "faces":
        faces = faces_pb2.FacesServiceListModelsRequest()
        return Operation(faces_pb2_grpc.FacesServiceStub, "ListModels", faces, decode)
    if service == "captioner":
        named = captioner_pb2.CaptionerServiceListModelsRequest()
        return Operation(captioner_pb2_grpc.CaptionerServiceStub, "ListModels", named, decode)
    raise ValueError(
        f"service: expected detector, segmenter, faces or captioner, found {service!r}"
    )


def health(service: str) -> Operation[str]:
    """The service's health: SERVING, NOT_SERVING and so on; an empty name asks for all."""
    request = health_pb2.HealthCheckRequest(service=service)

    def decode(response: health_pb2.HealthCheckResponse, _: str) -> str:
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

    return Operation(health_pb2_grpc.HealthStub, "Check", request, decode)


def check_wait(heard: KinemaskError | None, status: str, time_left: bool) -> None:
    """Whether to go on waiting for a server that is not serving yet.

    Raises:
        KinemaskError: waiting does not help, or the time is over.
    """
    waiting_helps = heard is None or isinstance(heard, (UnavailableError, DeadlineExceededError))
    if heard is not None and not (waiting_helps and time_left):
        raise heard
    if not time_left:
        info = ErrorInfo(reason="NOT_SERVING")
        raise UnavailableError(f"the server answers, but its health is {status}", info=info)
