"""The three streams of the API: their messages, and the edits each takes."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from kinemask import config, results, types
from kinemask.client import _decode, _encode
from kinemask.client._connection import StreamKind
from kinemask.v1 import live_pb2, segmenter_pb2, tracker_pb2


def live_kind(
    wanted: config.LiveConfig, options: config.StreamOptions
) -> StreamKind[results.LiveFrame]:
    """LiveService.Stream."""

    def with_token(token: bytes) -> Message:
        message = _encode.live_config(wanted)
        message.stream.CopyFrom(_encode.stream_options(options, token))
        return message

    def info(started: live_pb2.StreamStarted) -> config.StreamInfo:
        return _decode.stream_info(started.terms, list(started.stages))

    return StreamKind(
        name="live stream",
        request=live_pb2.StreamRequest,
        config=with_token,
        info=info,
        result=_decode.live_frame,
        failed=results.LiveFrame,
    )


def video_kind(
    wanted: config.VideoConfig, options: config.StreamOptions
) -> StreamKind[results.SegmentedFrame]:
    """SegmenterService.SegmentVideo."""

    def with_token(token: bytes) -> Message:
        message = _encode.video_config(wanted)
        message.stream.CopyFrom(_encode.stream_options(options, token))
        return message

    return StreamKind(
        name="segment stream",
        request=segmenter_pb2.SegmentVideoRequest,
        config=with_token,
        info=lambda started: _decode.stream_info(started.terms, edits=started.edits),
        result=_decode.segmented_frame,
        failed=results.SegmentedFrame,
    )


def track_kind(
    wanted: config.TrackStage, options: config.StreamOptions
) -> StreamKind[results.TrackedFrame]:
    """TrackerService.Track."""

    def with_token(token: bytes) -> Message:
        message = _encode.track_config(wanted)
        message.stream.CopyFrom(_encode.stream_options(options, token))
        return message

    return StreamKind(
        name="track stream",
        request=tracker_pb2.TrackRequest,
        config=with_token,
        info=lambda started: _decode.stream_info(started.terms),
        result=_decode.tracked_frame,
        failed=results.TrackedFrame,
    )


def boxes_frame(
    detections: Sequence[types.Detection] | None, observations: Sequence[types.Observation]
) -> tracker_pb2.TrackFrame:
    """A frame's boxes, its id still to be set."""
    return tracker_pb2.TrackFrame(
        detections=[_encode.detection(found) for found in detections or ()],
        not_detected=detections is None,
        observations=[_encode.observation(known) for known in observations],
    )


def live_prompt(prompt: types.Prompt) -> live_pb2.StreamEdit:
    return live_pb2.StreamEdit(
        prompt=_encode.prompt(prompt), frame_id=prompt.frame_id, label=prompt.label
    )


def live_remove(object_id: int, frame_id: int | None) -> live_pb2.StreamEdit:
    removal = segmenter_pb2.ObjectRemoval(object_id=object_id)
    return live_pb2.StreamEdit(remove=removal, frame_id=frame_id)


def live_change(
    stage: config.DetectStage | config.EffectStage | config.CaptionStage, frame_id: int | None
) -> live_pb2.StreamEdit:
    """Another way of detecting, drawing or describing."""
    if isinstance(stage, config.DetectStage):
        return live_pb2.StreamEdit(detect=_encode.detect_stage(stage), frame_id=frame_id)
    if isinstance(stage, config.EffectStage):
        return live_pb2.StreamEdit(effect=_encode.effect_stage(stage), frame_id=frame_id)
    return live_pb2.StreamEdit(caption=_encode.caption_stage(stage), frame_id=frame_id)


def video_prompt(prompt: types.Prompt) -> segmenter_pb2.SegmentVideoEdit:
    return segmenter_pb2.SegmentVideoEdit(prompt=_encode.prompt(prompt), frame_id=prompt.frame_id)


def video_remove(
    object_id: int, frame_id: int | None, past: bool
) -> segmenter_pb2.SegmentVideoEdit:
    removal = segmenter_pb2.ObjectRemoval(object_id=object_id)
    if past:
        return segmenter_pb2.SegmentVideoEdit(clear=removal, frame_id=frame_id)
    return segmenter_pb2.SegmentVideoEdit(remove=removal, frame_id=frame_id)


def video_clear_frame(object_id: int, frame_id: int) -> segmenter_pb2.SegmentVideoEdit:
    removal = segmenter_pb2.ObjectRemoval(object_id=object_id)
    return segmenter_pb2.SegmentVideoEdit(clear_frame=removal, frame_id=frame_id)


def video_stop(edit_id: int) -> segmenter_pb2.SegmentVideoEdit:
    stop = segmenter_pb2.PropagationStop(propagation_edit_id=edit_id)
    return segmenter_pb2.SegmentVideoEdit(stop=stop)


def video_propagate(
    frame_id: int, to_frame_id: int, object_ids: Sequence[int]
) -> segmenter_pb2.SegmentVideoEdit:
    walk = segmenter_pb2.Propagation(to_frame_id=to_frame_id, object_ids=object_ids)
    return segmenter_pb2.SegmentVideoEdit(propagate=walk, frame_id=frame_id)


def end_tracks(track_ids: Sequence[int], frame_id: int | None) -> tracker_pb2.TrackEdit:
    return tracker_pb2.TrackEdit(end_track_ids=track_ids, frame_id=frame_id)
