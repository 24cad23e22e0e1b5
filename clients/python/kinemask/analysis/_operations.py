"""ImageService.Analyze as an operation, for either client to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import status_pb2

from kinemask import types
from kinemask.analysis.types import Analysis, AnalyzeOptions, Instance, StoredPicture
from kinemask.client import _decode, _encode
from kinemask.client._calls import Operation
from kinemask.config import Effect
from kinemask.errors import KinemaskError
from kinemask.faces import _decode as _faces
from kinemask.results import Segmentation
from kinemask.v1 import (
    detector_pb2,
    faces_pb2,
    images_pb2,
    images_pb2_grpc,
    media_pb2,
    segmenter_pb2,
    videos_pb2,
)

if TYPE_CHECKING:
    from kinemask.types import ImageLike

_PARTS = ("detect", "segment", "instances", "everything", "object", "faces")


def analyze(
    picture: ImageLike | StoredPicture, options: AnalyzeOptions, jpeg_quality: int | None
) -> Operation[Analysis]:
    """ImageService.Analyze."""
    request = _request(options)
    if isinstance(picture, StoredPicture):
        request.video_frame.CopyFrom(_video_frame(picture))
    else:
        request.image.CopyFrom(_encode.image(picture, jpeg_quality))
    labels = [prompt.label for prompt in options.prompts]
    stub = images_pb2_grpc.ImageServiceStub
    return Operation(
        stub, "Analyze", request, lambda found, request_id: _analysis(found, labels, request_id)
    )


def _request(options: AnalyzeOptions) -> images_pb2.AnalyzeRequest:
    request = images_pb2.AnalyzeRequest(mask_encoding=_encode.mask_encoding(options.mask_encoding))
    model = options.segment_model
    if options.detect is not None:
        request.detect.CopyFrom(_encode.detect_options(options.detect))
    if options.prompts:
        prompts = _encode.numbered_prompts(options.prompts)
        request.segment.CopyFrom(images_pb2.SegmentOptions(prompts=prompts, model=model))
    if options.instances is not None:
        request.instances.detect.CopyFrom(_encode.detect_options(options.instances))
        request.instances.segment_model = model
    if options.everything is not None:
        request.everything.CopyFrom(_everything(options))
    if options.object_label:
        request.object.label, request.object.rank = options.object_label, options.object_rank
        request.object.segment_model = model
    if options.gallery_id:
        request.faces.recognise.CopyFrom(faces_pb2.RecogniseOptions(gallery_id=options.gallery_id))
    elif options.faces:
        request.faces.SetInParent()
    if options.caption is not None:
        request.caption.CopyFrom(_encode.caption_options(options.caption))
    if options.annotate:
        drawn = [Effect(e) if isinstance(e, str) else e for e in options.effects]
        effects = [_encode.effect_message(one) for one in drawn]
        request.annotated.CopyFrom(images_pb2.AnnotatedOptions(effects=effects))
    return request


def _everything(options: AnalyzeOptions) -> images_pb2.EverythingOptions:
    wanted = options.everything
    assert wanted is not None
    return images_pb2.EverythingOptions(
        points_per_side=wanted.points_per_side,
        score_threshold=wanted.score_threshold,
        stability_threshold=wanted.stability_threshold,
        overlap_threshold=wanted.overlap_threshold,
        min_area_px=wanted.min_area_px,
        model=wanted.model,
    )


def _video_frame(picture: StoredPicture) -> videos_pb2.VideoFrame:
    chosen = videos_pb2.FrameSelector(random=videos_pb2.RandomFrame(seed=picture.seed))
    if picture.index is not None:
        chosen = videos_pb2.FrameSelector(frame_index=picture.index)
    elif picture.time_s is not None:
        chosen = videos_pb2.FrameSelector(time_us=round(picture.time_s * 1e6))
    return videos_pb2.VideoFrame(video_id=picture.video_id, frame=chosen)


def _analysis(found: images_pb2.AnalyzeResponse, labels: list[str], request_id: str) -> Analysis:
    errors = _errors(found, request_id)
    size = (found.width, found.height)
    one_object = found.object.instances[:1]
    return Analysis(
        width=found.width,
        height=found.height,
        detections=_decode.detections(_detections(found), found.detect.service, request_id)
        if _answered(found, "detect", errors)
        else None,
        prompted=_decode.segmentation(_segmented(found), labels)
        if _answered(found, "segment", errors)
        else None,
        instances=tuple(map(_instance, found.instances.instances)),
        everything=_masks(found.everything, size)
        if _answered(found, "everything", errors)
        else None,
        object=_instance(one_object[0]) if one_object else None,
        faces=tuple(map(_faces.recognised, found.faces.faces)),
        caption=_decode.caption(found.caption.caption, found.caption.service, request_id)
        if _answered(found, "caption", errors)
        else None,
        annotated=found.annotated.encoded,
        errors=errors,
        services=_services(found),
        frame_index=found.frame_index if found.HasField("frame_index") else None,
        time_s=found.time_us / 1e6 if found.HasField("time_us") else None,
        timing=_decode.timing(found.timing),
    )


def _answered(
    found: images_pb2.AnalyzeResponse, part: str, errors: dict[str, KinemaskError]
) -> bool:
    return found.HasField(part) and part not in errors  # type: ignore[arg-type]  # all are fields


def _errors(found: images_pb2.AnalyzeResponse, request_id: str) -> dict[str, KinemaskError]:
    said: dict[str, status_pb2.Status] = {part: getattr(found, part).error for part in _PARTS}
    said["caption"] = found.caption.caption.error
    failed = {part: _decode.failure(status, request_id) for part, status in said.items()}
    return {part: error for part, error in failed.items() if error is not None}


def _detections(found: images_pb2.AnalyzeResponse) -> detector_pb2.ImageDetections:
    return detector_pb2.ImageDetections(
        detections=found.detect.detections,
        width=found.width,
        height=found.height,
        timing=found.detect.timing,
    )


def _instance(message: images_pb2.Instance) -> Instance:
    found = message.detection
    box = _decode.box(found.box)
    detection = types.Detection(box, found.score, found.label, found.prompt)
    return Instance(detection, _decode.object_mask(message.mask, found.label))


def _segmented(found: images_pb2.AnalyzeResponse) -> segmenter_pb2.SegmentImageResponse:
    return segmenter_pb2.SegmentImageResponse(
        results=found.segment.results,
        width=found.width,
        height=found.height,
        timing=found.segment.timing,
        service=found.segment.service,
    )


def _masks(answer: images_pb2.EverythingAnswer, size: tuple[int, int]) -> Segmentation:
    return _decode.everything(
        segmenter_pb2.SegmentEverythingResponse(
            masks=answer.masks,
            width=size[0],
            height=size[1],
            timing=answer.timing,
            service=answer.service,
        )
    )


def _services(found: images_pb2.AnalyzeResponse) -> dict[str, types.ServiceInfo]:
    answered: list[media_pb2.ServiceInfo] = [
        found.detect.service,
        found.segment.service,
        found.instances.detector,
        found.instances.segmenter,
        found.object.detector,
        found.object.segmenter,
        found.everything.service,
        found.faces.service,
        found.caption.service,
    ]
    return {one.service: _decode.service_info(one) for one in answered if one.service}
