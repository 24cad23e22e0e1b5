"""Sessions as messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from kinemask import wire
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2, videos_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations.masks import Entries
from kinemask_gateway.annotations.prompt_records import PromptRecord
from kinemask_gateway.annotations.records import ObjectRecord, SessionRecord, no_object
from kinemask_gateway.annotations.spans import Spans
from kinemask_gateway.library.library import out_of_range
from kinemask_gateway.library.messages import time_message
from kinemask_gateway.tracks.messages import Encoding, Size, mask_message
from kinemask_gateway.tracks.values import TrackedObject


def session_message(
    session: SessionRecord,
    stale: Spans,
    *,
    awake: bool,
    service: media_pb2.ServiceInfo | None = None,
    objects: Iterable[pb.SessionObject] = (),
) -> pb.Session:
    """One session; `awake`: it is in memory here."""
    state = pb.SESSION_STATE_ACTIVE if awake else pb.SESSION_STATE_IDLE
    return pb.Session(
        session_id=session.session_id,
        video_id=session.video_id,
        display_name=session.display_name,
        state=pb.SESSION_STATE_PROPAGATING if session.propagating else state,
        options=session.options,
        objects=objects,
        revision=session.revision,
        stale_frames=[
            videos_pb2.FrameRange(first_frame_index=first, last_frame_index=last)
            for first, last in stale
        ],
        service=service if awake else None,
        owner_id=session.owner_id,
        create_time=time_message(session.create_time),
        use_time=time_message(session.use_time),
    )


def object_message(
    entry: ObjectRecord, prompted: Sequence[int], masked_frames: int
) -> pb.SessionObject:
    """One object of a session."""
    return pb.SessionObject(
        object_id=entry.object_id,
        label=entry.label,
        color_rgb=entry.color_rgb,
        prompted_frame_indices=prompted,
        masked_frame_count=masked_frames,
    )


def prompt_message(entry: PromptRecord) -> pb.SessionPrompt:
    """One prompt."""
    created: Timestamp = time_message(entry.create_time)
    return pb.SessionPrompt(
        prompt_id=entry.prompt_id,
        frame_index=entry.frame_index,
        prompt=entry.prompt,
        create_time=created,
    )


def mask_messages(
    entries: Entries, size: Size, encoding: Encoding, wanted: Iterable[int] = ()
) -> list[segmenter_pb2.ObjectMask]:
    """Every object's mask on a frame, ascending by id. Blocking for other encodings than RLE."""
    ids = set(wanted)
    return [
        _mask(entry, size, encoding)
        for object_id, entry in sorted(entries.items())
        if not ids or object_id in ids
    ]


def frame_message(
    frame_index: int,
    time_us: int,
    objects: Iterable[segmenter_pb2.ObjectMask],
    *,
    stale: bool,
) -> pb.SessionFrame:
    """One frame's masks."""
    return pb.SessionFrame(frame_index=frame_index, time_us=time_us, objects=objects, stale=stale)


def span_of(wanted: videos_pb2.FrameRange, frame_count: int) -> tuple[int, int]:
    """The frames of a range, by default all; a last one beyond the end is the end.

    Raises:
        ServiceError: INVALID_ARGUMENT or OUT_OF_RANGE.
    """
    first, last = wanted.first_frame_index, frame_count - 1
    if wanted.HasField("last_frame_index"):
        if wanted.last_frame_index < first:
            what = f"expected at least the first, {first}, got {wanted.last_frame_index}"
            raise errors.invalid("range.last_frame_index", what)
        last = min(wanted.last_frame_index, last)
    check_frame(first, frame_count)
    return first, last


def check_frame(number: int, frame_count: int) -> None:
    """Raises ServiceError OUT_OF_RANGE for a frame that is not there."""
    if not 0 <= number < frame_count:
        raise out_of_range(f"expected a frame from 0 to {frame_count - 1}, got {number}")


def check_objects(wanted: Iterable[int], known: Mapping[int, ObjectRecord]) -> None:
    """Raises ServiceError NOT_FOUND for an object that is not there."""
    for object_id in wanted:
        if object_id not in known:
            raise no_object(object_id, list(known))


def _mask(entry: TrackedObject, size: Size, encoding: Encoding) -> segmenter_pb2.ObjectMask:
    message = segmenter_pb2.ObjectMask(
        object_id=entry.object_id, score=entry.score, area_px=entry.area_px
    )
    if entry.present:
        mask = mask_message(entry.rle, size, encoding)
        if mask is not None:
            message.mask.CopyFrom(mask)
        if entry.box_xyxy is not None:
            message.box.CopyFrom(wire.box_to_message(entry.box_xyxy))
    return message
