"""Stored tracks as messages, and back."""

from __future__ import annotations

from typing import TypeAlias

from kinemask import masks, wire
from kinemask.v1 import faces_pb2, live_pb2, media_pb2, tracker_pb2
from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.tracks.values import (
    MaskOrigin,
    ObjectState,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)

Encoding: TypeAlias = "media_pb2.MaskEncoding.ValueType"
Size = tuple[int, int]
"""Height and width in pixels."""


def frame_message(
    frame: TrackedFrame, size: Size, encoding: Encoding = media_pb2.MASK_ENCODING_RLE
) -> pb.GetTracksResponse:
    """One frame as GetTracks tells it. Blocking for other encodings than RLE."""
    return pb.GetTracksResponse(
        frame_index=frame.frame_index,
        time_us=frame.time_us,
        objects=[tracked_message(entry, size, encoding) for entry in frame.objects],
        detected=frame.detected,
    )


def tracked_message(entry: TrackedObject, size: Size, encoding: Encoding) -> pb.TrackedObject:
    """One object with where its mask comes from."""
    origin = pb.MaskOrigin.ValueType(entry.origin)
    return pb.TrackedObject(object=object_message(entry, size, encoding), origin=origin)


def object_message(entry: TrackedObject, size: Size, encoding: Encoding) -> live_pb2.LiveObject:
    """One object."""
    message = live_pb2.LiveObject(
        object_id=entry.object_id,
        label=entry.label,
        prompt=entry.prompt,
        score=entry.score,
        state=tracker_pb2.TrackState.ValueType(entry.state),
        area_px=entry.area_px,
    )
    if entry.box_xyxy is not None:
        message.box.CopyFrom(wire.box_to_message(entry.box_xyxy))
    mask = mask_message(entry.rle, size, encoding)
    if mask is not None:
        message.mask.CopyFrom(mask)
    if entry.name is not None:
        message.name.CopyFrom(name_message(entry.name))
    return message


def mask_message(rle: bytes, size: Size, encoding: Encoding) -> media_pb2.Mask | None:
    """A mask in an encoding; None where there is none."""
    if not rle or encoding == media_pb2.MASK_ENCODING_NONE:
        return None
    height, width = size
    if encoding in (media_pb2.MASK_ENCODING_RLE, media_pb2.MASK_ENCODING_UNSPECIFIED):
        return media_pb2.Mask(width=width, height=height, rle=rle)
    return wire.mask_to_message(masks.decode_rle(rle, height, width), encoding)


def name_message(name: TrackedName) -> live_pb2.ObjectName:
    """A name with its action."""
    message = live_pb2.ObjectName(
        person_id=name.person_id,
        name=name.name,
        similarity=name.similarity,
        decided=name.decided,
    )
    if name.action is not None:
        kind, target, label = name.action
        message.action.CopyFrom(faces_pb2.PersonAction(kind=kind, target=target, label=label))
    return message


def object_from_message(message: live_pb2.LiveObject, origin: MaskOrigin) -> TrackedObject:
    """An object as it is to be stored; its mask must be RLE, or unset."""
    return TrackedObject(
        object_id=message.object_id,
        label=message.label,
        prompt=message.prompt,
        score=message.score,
        state=ObjectState(message.state),
        origin=origin,
        box_xyxy=wire.box_from_message(message.box) if message.HasField("box") else None,
        rle=message.mask.rle if message.HasField("box") else b"",
        area_px=message.area_px,
        name=_name_from_message(message.name) if message.HasField("name") else None,
    )


def _name_from_message(message: live_pb2.ObjectName) -> TrackedName:
    action = message.action
    told = (action.kind, action.target, action.label) if message.HasField("action") else None
    return TrackedName(message.person_id, message.name, message.similarity, message.decided, told)
