"""Between the tracker's messages and plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kinemask import wire
from kinemask.v1 import tracker_pb2
from kinemask_chassis import errors

from kinemask_tracker.engines import (
    Detections,
    FrameTracks,
    Observation,
    Track,
    TrackerConfig,
    TrackerSettings,
    TrackState,
)

_STATES = {
    TrackState.TENTATIVE: tracker_pb2.TRACK_STATE_TENTATIVE,
    TrackState.CONFIRMED: tracker_pb2.TRACK_STATE_CONFIRMED,
    TrackState.LOST: tracker_pb2.TRACK_STATE_LOST,
}


@dataclass(frozen=True)
class FrameBoxes:
    """What one frame brought."""

    detections: Detections | None
    """None: no detector ran."""
    observations: tuple[Observation, ...]
    prompts: tuple[str, ...]
    """The prompt each detection answers."""


def boxes_from_message(frame: tracker_pb2.TrackFrame) -> FrameBoxes:
    """A frame's boxes.

    Raises:
        ServiceError: INVALID_ARGUMENT: a box is upside down or absurdly far out, detections come
            with `not_detected`, or two observations are of one track.
    """
    if frame.not_detected and frame.detections:
        raise errors.invalid(
            "frame.detections",
            f"expected none where not_detected is set, found {len(frame.detections)}",
        )
    _check_observed(frame.observations)
    return FrameBoxes(
        None if frame.not_detected else _detections(frame),
        tuple(_observation(message, i) for i, message in enumerate(frame.observations)),
        tuple(detection.prompt for detection in frame.detections),
    )


def config_from_message(message: tracker_pb2.TrackerParameters) -> TrackerConfig:
    """A tracker's numbers; what is unset stays the algorithm's own."""

    def given(name: str) -> float | None:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]  # names of the message's fields

    return TrackerConfig(
        # The API counts every detection in a row, engines those after the first.
        min_hits=message.min_hits - 1 if message.HasField("min_hits") else None,
        max_lost_frames=message.max_lost_frames if message.HasField("max_lost_frames") else None,
        high_score=given("high_score"),
        low_score=given("low_score"),
        new_track_score=given("new_track_score"),
        min_iou=given("match_iou"),
    )


def settings_to_message(settings: TrackerSettings) -> tracker_pb2.TrackerParameters:
    """The numbers that hold."""
    return tracker_pb2.TrackerParameters(
        min_hits=settings.min_hits + 1,
        max_lost_frames=settings.max_lost_frames,
        high_score=settings.high_score,
        low_score=settings.low_score,
        new_track_score=settings.new_track_score,
        match_iou=settings.min_iou,
    )


def result_to_message(
    frame: tracker_pb2.TrackFrame,
    tracks: FrameTracks,
    prompts: Mapping[int, str],
    ended: Sequence[int],
) -> tracker_pb2.TrackResult:
    """A frame's result without its timing; `prompts` by track id."""
    return tracker_pb2.TrackResult(
        frame_id=frame.frame_id,
        capture_time_us=frame.capture_time_us,
        tracks=[_track(track, prompts.get(track.track_id, "")) for track in tracks],
        ended_track_ids=ended,
    )


def _track(track: Track, prompt: str) -> tracker_pb2.Track:
    return tracker_pb2.Track(
        track_id=track.track_id,
        box=wire.box_to_message(track.box_xyxy),
        score=track.score,
        label=track.label,
        prompt=prompt,
        state=_STATES[track.state],
        detection_index=track.detection_index if track.detection_index >= 0 else None,
        frames_since_seen=track.frames_since_seen,
    )


def _detections(frame: tracker_pb2.TrackFrame) -> Detections:
    boxes = [wire.box_from_message(detection.box) for detection in frame.detections]
    scores = [detection.score for detection in frame.detections]
    labels = tuple(detection.label for detection in frame.detections)
    try:
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), labels
        )
    except ValueError as error:
        raise errors.invalid("frame.detections", str(error)) from error


def _observation(message: tracker_pb2.Observation, index: int) -> Observation:
    try:
        return Observation(message.track_id, wire.box_from_message(message.box), message.score)
    except ValueError as error:
        raise errors.invalid(f"frame.observations[{index}]", str(error)) from error


def _check_observed(observations: Sequence[tracker_pb2.Observation]) -> None:
    seen: set[int] = set()
    for index, observation in enumerate(observations):
        if observation.track_id in seen:
            raise errors.invalid(
                f"frame.observations[{index}].track_id",
                f"expected one observation a track, found a second of {observation.track_id}",
            )
        seen.add(observation.track_id)
