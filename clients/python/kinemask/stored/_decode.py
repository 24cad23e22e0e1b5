"""From the messages of videos.proto and jobs.proto to plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from google.protobuf import json_format, timestamp_pb2

from kinemask.errors import from_status
from kinemask.stored.types import (
    AudioTrack,
    DamagedSpan,
    FramesAtRisk,
    Job,
    JobFile,
    JobKindName,
    JobObject,
    JobProgress,
    JobStateName,
    RiskName,
    StoredFrame,
    StoredVideo,
    VideoFacts,
)
from kinemask.v1 import jobs_pb2, videos_pb2
from kinemask.wire import image_from_message


def video(message: videos_pb2.Video) -> StoredVideo:
    return StoredVideo(
        video_id=message.video_id,
        name=message.display_name,
        metadata=json_format.MessageToDict(message.metadata),
        file_name=message.file.file_name,
        media_type=message.file.media_type,
        size_bytes=message.file.size_bytes,
        sha256=message.file.sha256,
        facts=facts(message.facts),
        source_job_id=message.source_job_id,
        create_time=_time(message.create_time),
    )


def facts(message: videos_pb2.VideoFacts) -> VideoFacts:
    return VideoFacts(
        width=message.width,
        height=message.height,
        rotation_deg=message.rotation_deg,
        frame_count=message.frame_count,
        frame_count_exact=message.frame_count_exact,
        duration_s=message.duration_us / 1e6,
        average_fps=message.average_fps,
        variable_frame_rate=message.variable_frame_rate,
        codec=message.codec,
        pixel_format=message.pixel_format,
        bit_depth=message.bit_depth,
        container=message.container,
        audio_tracks=tuple(
            AudioTrack(track.codec, track.channels, track.sample_rate_hz, track.language)
            for track in message.audio_tracks
        ),
        damage=tuple(
            DamagedSpan(span.first_frame_index, span.last_frame_index, span.message)
            for span in message.damage
        ),
        truncated=message.truncated,
    )


def frame(message: videos_pb2.GetFrameResponse) -> StoredFrame:
    image = image_from_message(message.image)
    return StoredFrame(image, message.frame_index, message.time_us / 1e6)


def job(message: jobs_pb2.Job) -> Job:
    return Job(
        job_id=message.job_id,
        kind=cast(JobKindName, _word(jobs_pb2.JobKind.Name(message.kind), "JOB_KIND_")),
        state=cast(JobStateName, _word(jobs_pb2.JobState.Name(message.state), "JOB_STATE_")),
        name=message.display_name,
        video_id=message.track.video_id,
        progress=_progress(message.progress),
        error=from_status(message.error) if message.error.code else None,
        files=tuple(
            JobFile(
                output_id=output.output_id,
                file_name=output.file.file_name,
                media_type=output.file.media_type,
                size_bytes=output.file.size_bytes,
                sha256=output.file.sha256,
            )
            for output in message.outputs
        ),
        attempts=message.attempts,
        worker=message.worker,
        create_time=_time(message.create_time),
        start_time=_time(message.start_time) if message.HasField("start_time") else None,
        finish_time=_time(message.finish_time) if message.HasField("finish_time") else None,
        objects=tuple(map(_object, message.track_result.objects)),
        at_risk=tuple(map(_at_risk, message.track_result.at_risk)),
    )


def _object(message: jobs_pb2.ObjectSummary) -> JobObject:
    return JobObject(
        object_id=message.object_id,
        label=message.label,
        prompt=message.prompt,
        name=message.name.name if message.name.decided else "",
        first_frame=message.first_frame_index,
        last_frame=message.last_frame_index,
        frame_count=message.frame_count,
    )


def _at_risk(message: jobs_pb2.FramesAtRisk) -> FramesAtRisk:
    known = message.reason in jobs_pb2.RiskReason.values()
    reason = jobs_pb2.RiskReason.Name(message.reason) if known else "UNSPECIFIED"
    return FramesAtRisk(
        first_frame=message.first_frame_index,
        last_frame=message.last_frame_index,
        object_id=message.object_id,
        reason=cast(RiskName, _word(reason, "RISK_REASON_")),
        message=message.message,
    )


def _progress(message: jobs_pb2.JobProgress) -> JobProgress:
    phase = jobs_pb2.JobPhase.Name(message.phase) if message.phase else ""
    return JobProgress(
        phase=_word(phase, "JOB_PHASE_"),
        done_frames=message.done_frames,
        total_frames=message.total_frames,
        frames_per_s=message.frames_per_s,
        left_s=message.left_s if message.HasField("left_s") else None,
        fraction=message.fraction,
        checkpoint_frames=message.checkpoint_frames,
    )


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")


def _time(message: timestamp_pb2.Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
