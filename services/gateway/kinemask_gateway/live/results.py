"""One frame's answer, from masks or tracks and what is known of the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kinemask import wire
from kinemask.v1 import live_pb2, media_pb2, segmenter_pb2, tracker_pb2

from kinemask_gateway.live.objects import KnownObject

_SURE_DETECTIONS = 2


def build_result(
    frame: media_pb2.Frame,
    size: tuple[int, int],
    known: Mapping[int, KnownObject],
    segmented: segmenter_pb2.SegmentVideoResult | None,
    tracks: Sequence[tracker_pb2.Track],
) -> live_pb2.StreamResult:
    """The answer, objects ascending by id.

    With masks, objects are the segmenter's; without a segment stage they are the tracks. While the
    segmenter is down, objects keep their last box as LOST.
    """
    result = live_pb2.StreamResult(
        frame_id=frame.frame_id,
        capture_time_us=frame.capture_time_us,
        height=size[0],
        width=size[1],
    )
    if segmented is not None:
        entries = [_from_mask(entry, known.get(entry.object_id)) for entry in segmented.objects]
    elif tracks:
        entries = [_from_track(track) for track in tracks]
    else:
        entries = [_from_memory(item) for item in known.values() if item.box_xyxy]
    result.objects.extend(sorted(entries, key=lambda entry: entry.object_id))
    return result


def _from_mask(entry: segmenter_pb2.ObjectMask, known: KnownObject | None) -> live_pb2.LiveObject:
    found = live_pb2.LiveObject(object_id=entry.object_id, score=entry.score, area_px=entry.area_px)
    if known is not None:
        found.label, found.prompt = known.label, known.prompt
    if entry.HasField("box"):
        found.box.CopyFrom(entry.box)
    if entry.HasField("mask"):
        found.mask.CopyFrom(entry.mask)
    found.state = _state(entry, known)
    return found


def _state(
    entry: segmenter_pb2.ObjectMask, known: KnownObject | None
) -> tracker_pb2.TrackState.ValueType:
    if not entry.HasField("box"):
        return tracker_pb2.TRACK_STATE_LOST
    if known is not None and known.detected and known.detections < _SURE_DETECTIONS:
        return tracker_pb2.TRACK_STATE_TENTATIVE
    return tracker_pb2.TRACK_STATE_CONFIRMED


def _from_track(track: tracker_pb2.Track) -> live_pb2.LiveObject:
    return live_pb2.LiveObject(
        object_id=track.track_id,
        label=track.label,
        prompt=track.prompt,
        score=track.score,
        box=track.box,
        state=track.state,
    )


def _from_memory(known: KnownObject) -> live_pb2.LiveObject:
    entry = live_pb2.LiveObject(
        object_id=known.object_id,
        label=known.label,
        prompt=known.prompt,
        state=tracker_pb2.TRACK_STATE_LOST,
    )
    if known.box_xyxy is not None:
        entry.box.CopyFrom(wire.box_to_message(known.box_xyxy))
    return entry
