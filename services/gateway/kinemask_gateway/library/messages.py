"""Between the messages of videos.proto and plain values."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import PurePosixPath

from google.protobuf import json_format, struct_pb2, timestamp_pb2
from kinemask.v1 import videos_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.library.facts import FileFacts, Video, VideoFacts
from kinemask_gateway.library.uploads import NewUpload, Upload

_MAX_METADATA_BYTES = 64 * 1024
_MAX_METADATA_LEVELS = 16
_SHA256 = re.compile("[0-9a-f]{64}")


def video_message(video: Video) -> pb.Video:
    metadata = struct_pb2.Struct()
    json_format.Parse(video.metadata_json, metadata)
    return pb.Video(
        video_id=video.video_id,
        display_name=video.display_name,
        metadata=metadata,
        file=file_message(video.file),
        facts=facts_message(video.facts),
        source_job_id=video.source_job_id,
        owner_id=video.owner_id,
        create_time=time_message(video.create_time),
    )


def file_message(file: FileFacts) -> pb.FileFacts:
    return pb.FileFacts(
        file_name=file.file_name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
    )


def facts_message(facts: VideoFacts) -> pb.VideoFacts:
    return pb.VideoFacts(
        width=facts.width,
        height=facts.height,
        rotation_deg=facts.rotation_deg,
        frame_count=facts.frame_count,
        frame_count_exact=facts.frame_count_exact,
        duration_us=facts.duration_us,
        average_fps=facts.average_fps,
        variable_frame_rate=facts.variable_frame_rate,
        codec=facts.codec,
        pixel_format=facts.pixel_format,
        bit_depth=facts.bit_depth,
        container=facts.container,
        audio_tracks=[
            pb.AudioTrack(
                codec=track.codec,
                channels=track.channels,
                sample_rate_hz=track.sample_rate_hz,
                language=track.language,
            )
            for track in facts.audio_tracks
        ],
        damage=[
            pb.DamagedSpan(
                first_frame_index=span.first_frame_index,
                last_frame_index=span.last_frame_index,
                message=span.message,
            )
            for span in facts.damage
        ],
        truncated=facts.truncated,
    )


def upload_message(upload: Upload) -> pb.Upload:
    return pb.Upload(
        upload_id=upload.upload_id,
        size_bytes=upload.size_bytes,
        stored_bytes=upload.stored_bytes,
        expire_time=time_message(upload.expire_time),
    )


def new_upload(request: pb.StartUploadRequest) -> NewUpload:
    """Raises ServiceError INVALID_ARGUMENT for a name, checksum or metadata that will not do."""
    file_name = PurePosixPath(plain_text("file_name", request.file_name).replace("\\", "/")).name
    if not file_name:
        raise errors.invalid("file_name", f"expected a file's name, got {request.file_name!r}")
    return NewUpload(
        file_name=file_name,
        size_bytes=request.size_bytes,
        sha256=checksum("sha256", request.sha256),
        display_name=plain_text("display_name", request.display_name) or file_name[:200],
        metadata_json=metadata_json(request.metadata),
    )


def metadata_json(metadata: struct_pb2.Struct) -> str:
    """The object as JSON.

    Raises:
        ServiceError: INVALID_ARGUMENT: too large, too deep, or not to be written as JSON.
    """
    try:
        value = json_format.MessageToDict(metadata)
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (json_format.Error, ValueError, RecursionError) as error:
        raise errors.invalid("metadata", f"expected values that JSON has: {error}") from error
    size = len(text.encode())
    if size > _MAX_METADATA_BYTES:
        raise errors.invalid(
            "metadata", f"expected at most {_MAX_METADATA_BYTES} bytes as JSON, got {size}"
        )
    if (levels := _levels(value)) > _MAX_METADATA_LEVELS:
        raise errors.invalid("metadata", f"expected at most 16 levels, got {levels}")
    return json.dumps(json.loads(plain_text("metadata", text.replace("\\u0000", "\0"))))


def checksum(field: str, text: str) -> str:
    """SHA-256 in lower case, or nothing.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    lower = text.lower()
    if lower and not _SHA256.fullmatch(lower):
        raise errors.invalid(field, f"expected 64 hexadecimal digits, got {text!r}")
    return lower


def plain_text(field: str, text: str) -> str:
    """The text; raises ServiceError INVALID_ARGUMENT for a NUL, which Postgres does not take."""
    if "\0" in text:
        raise errors.invalid(field, "expected text without a NUL character, got one")
    return text


def time_message(when: datetime) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(when)
    return message


def _levels(value: object) -> int:
    """How deep lists and objects are nested."""
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_levels, value), default=0)
    return 0
