"""From the API's messages to the SDK's plain values."""

from __future__ import annotations

from collections.abc import Iterable

from google.rpc import status_pb2

from kinemask import config, results, types
from kinemask.errors import KinemaskError, from_status
from kinemask.v1 import (
    captioner_pb2,
    detector_pb2,
    live_pb2,
    media_pb2,
    segmenter_pb2,
    streams_pb2,
    tracker_pb2,
)

_POLICIES: dict[int, config.PolicyName] = {
    streams_pb2.OVERFLOW_POLICY_UNSPECIFIED: "block",
    streams_pb2.OVERFLOW_POLICY_BLOCK: "block",
    streams_pb2.OVERFLOW_POLICY_LATEST: "latest",
    streams_pb2.OVERFLOW_POLICY_REJECT: "reject",
}
_KNOWN_STATES = {state.value for state in types.TrackState}


def failure(status: status_pb2.Status, request_id: str = "") -> KinemaskError | None:
    """The exception of a status inside a result; None if it is unset."""
    return from_status(status, request_id) if status.code else None


def box(message: media_pb2.Box) -> types.Box:
    return types.Box(message.x_min, message.y_min, message.x_max, message.y_max)


def timing(message: media_pb2.Timing) -> types.Timing:
    return types.Timing(message.queue_ms, message.decode_ms, message.infer_ms, message.encode_ms)


def service_info(message: media_pb2.ServiceInfo) -> types.ServiceInfo:
    return types.ServiceInfo(
        service=message.service,
        version=message.version,
        engine=message.engine,
        model=message.model,
        revision=message.revision,
        device=message.device,
        replica=message.replica,
        notice=message.notice,
    )


def model_info(message: media_pb2.ModelInfo) -> types.ModelInfo:
    return types.ModelInfo(
        name=message.name,
        engine=message.engine,
        revision=message.revision,
        ready=message.ready,
        reason=message.reason,
        license=message.license,
        is_default=message.is_default,
        classes=tuple(message.classes),
        edits=tuple(message.edits),
    )


def services(message: live_pb2.ListServicesResponse) -> types.Services:
    found = [
        types.ServiceStatus(
            service=status.service,
            addresses=tuple(status.addresses),
            serving=status.serving,
            models=tuple(model_info(model) for model in status.models),
            reason=status.reason,
        )
        for status in message.services
    ]
    return types.Services(service_info(message.gateway), tuple(found))


def detections(
    message: detector_pb2.ImageDetections, service: media_pb2.ServiceInfo, request_id: str
) -> results.Detections:
    return results.Detections(
        items=tuple(
            types.Detection(box(found.box), found.score, found.label, found.prompt)
            for found in message.detections
        ),
        width=message.width,
        height=message.height,
        timing=timing(message.timing),
        service=service_info(service),
        error=failure(message.error, request_id),
    )


def caption(
    message: captioner_pb2.ImageCaption, service: media_pb2.ServiceInfo, request_id: str
) -> results.Caption:
    return results.Caption(
        text=message.caption,
        score=message.score if message.HasField("score") else None,
        tokens=message.tokens,
        truncated=message.truncated,
        timing=timing(message.timing),
        service=service_info(service),
        error=failure(message.error, request_id),
    )


def _encoded_mask(message: media_pb2.Mask) -> types.EncodedMask | None:
    kind = message.WhichOneof("data")
    if kind is None:
        return None
    data: bytes = getattr(message, kind)
    return types.EncodedMask(message.width, message.height, kind, data)


def object_mask(message: segmenter_pb2.ObjectMask, label: str = "") -> types.ObjectMask:
    return types.ObjectMask(
        object_id=message.object_id,
        score=message.score,
        box=box(message.box) if message.HasField("box") else None,
        area_px=message.area_px,
        encoded=_encoded_mask(message.mask) if message.HasField("mask") else None,
        label=label,
    )


def segmentation(
    message: segmenter_pb2.SegmentImageResponse, labels: list[str]
) -> results.Segmentation:
    """The labels are those of the prompts, in their order."""
    offered = [
        tuple(object_mask(candidate, label) for candidate in found.candidates)
        for found, label in zip(message.results, labels, strict=True)
    ]
    return results.Segmentation(
        items=tuple(candidates[0] for candidates in offered if candidates),
        candidates=tuple(offered),
        width=message.width,
        height=message.height,
        timing=timing(message.timing),
        service=service_info(message.service),
        embedding_cached=message.embedding_cached,
    )


def everything(message: segmenter_pb2.SegmentEverythingResponse) -> results.Segmentation:
    found = tuple(object_mask(mask) for mask in message.masks)
    return results.Segmentation(
        items=found,
        candidates=tuple((mask,) for mask in found),
        width=message.width,
        height=message.height,
        timing=timing(message.timing),
        service=service_info(message.service),
    )


def segmented_frame(message: segmenter_pb2.SegmentVideoResult) -> results.SegmentedFrame:
    return results.SegmentedFrame(
        frame_id=message.frame_id,
        capture_time_us=message.capture_time_us,
        timing=timing(message.timing),
        objects=tuple(object_mask(mask) for mask in message.objects),
        width=message.width,
        height=message.height,
    )


def live_frame(message: live_pb2.StreamResult) -> results.LiveFrame:
    dated = message.HasField("caption_frame_id")
    return results.LiveFrame(
        frame_id=message.frame_id,
        capture_time_us=message.capture_time_us,
        timing=timing(message.timing),
        objects=tuple(live_object(found) for found in message.objects),
        width=message.width,
        height=message.height,
        stages=tuple(_stage_report(report) for report in message.stages),
        rendered=message.rendered,
        caption=message.caption,
        caption_frame_id=message.caption_frame_id if dated else None,
        scene_cut=message.scene_cut,
    )


def live_object(message: live_pb2.LiveObject) -> types.LiveObject:
    return types.LiveObject(
        object_id=message.object_id,
        score=message.score,
        box=box(message.box) if message.HasField("box") else None,
        area_px=message.area_px,
        encoded=_encoded_mask(message.mask) if message.HasField("mask") else None,
        label=message.label,
        prompt=message.prompt,
        state=_state(message.state),
        name=_name(message.name) if message.HasField("name") else None,
    )


def _name(message: live_pb2.ObjectName) -> types.ObjectName:
    return types.ObjectName(message.person_id, message.name, message.similarity, message.decided)


def _state(number: int) -> types.TrackState:
    # A newer server may know states that this client does not.
    return types.TrackState(number if number in _KNOWN_STATES else 0)


def _stage_name(number: int) -> str:
    name = live_pb2.Stage.Name(number) if number in live_pb2.Stage.values() else str(number)  # type: ignore[arg-type]  # an open enum: any number may come
    return name.removeprefix("STAGE_").lower()


def _stage_report(message: live_pb2.StageReport) -> results.StageReport:
    late = message.HasField("source_frame_id")
    return results.StageReport(
        stage=_stage_name(message.stage),
        total_ms=message.total_ms,
        timing=timing(message.timing),
        degraded=failure(message.degraded),
        source_frame_id=message.source_frame_id if late else None,
    )


def tracked_frame(message: tracker_pb2.TrackResult) -> results.TrackedFrame:
    return results.TrackedFrame(
        frame_id=message.frame_id,
        capture_time_us=message.capture_time_us,
        timing=timing(message.timing),
        tracks=tuple(_track(track) for track in message.tracks),
        ended_track_ids=tuple(message.ended_track_ids),
    )


def _track(message: tracker_pb2.Track) -> types.TrackedBox:
    matched = message.HasField("detection_index")
    return types.TrackedBox(
        track_id=message.track_id,
        box=box(message.box),
        score=message.score,
        label=message.label,
        prompt=message.prompt,
        state=_state(message.state),
        detection_index=message.detection_index if matched else None,
        frames_since_seen=message.frames_since_seen,
    )


def stream_info(
    terms: streams_pb2.StreamTerms,
    stages: list[live_pb2.StageService] | None = None,
    edits: Iterable[str] = (),
) -> config.StreamInfo:
    return config.StreamInfo(
        window=max(terms.window, 1),
        policy=_POLICIES[terms.policy],
        service=service_info(terms.service),
        stages=tuple(_stage_service(stage) for stage in stages or ()),
        edits=tuple(edits),
    )


def _stage_service(message: live_pb2.StageService) -> config.StageService:
    served = message.HasField("service")
    return config.StageService(
        stage=_stage_name(message.stage),
        service=service_info(message.service) if served else None,
        reason=message.degraded.message if message.HasField("degraded") else "",
    )
