"""From rows of jobs to messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.rpc.status_pb2 import Status
from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.jobs.body import JobKind, JobOutput
from kinemask_gateway.jobs.records import JobRecord
from kinemask_gateway.library.facts import FileFacts
from kinemask_gateway.library.messages import file_message, time_message

if TYPE_CHECKING:
    from google.protobuf.message import Message

_SPECS: dict[JobKind, str] = {
    JobKind.TRACK: "track",
    JobKind.RENDER: "render",
    JobKind.EXPORT: "export",
}


def job_message(
    record: JobRecord, outputs: Iterable[JobOutput] = (), *, with_result: bool = True
) -> pb.Job:
    """One job; lists leave results and outputs out."""
    message = pb.Job(
        job_id=record.job_id,
        kind=pb.JobKind.ValueType(record.kind),
        state=pb.JobState.ValueType(record.state),
        display_name=record.display_name,
        progress=progress_message(record),
        attempts=record.attempts,
        worker=record.worker,
        owner_id=record.owner_id,
        create_time=time_message(record.create_time),
    )
    spec: Message = getattr(message, _SPECS[record.kind])
    spec.MergeFromString(record.spec)
    spec.SetInParent()
    if record.error is not None:
        message.error.CopyFrom(Status.FromString(record.error))
    if record.start_time is not None:
        message.start_time.CopyFrom(time_message(record.start_time))
    if record.finish_time is not None:
        message.finish_time.CopyFrom(time_message(record.finish_time))
    if with_result and record.result is not None:
        result: Message = getattr(message, f"{_SPECS[record.kind]}_result")
        result.MergeFromString(record.result)
        result.SetInParent()
        message.outputs.extend(output_message(output) for output in outputs)
    return message


def progress_message(record: JobRecord) -> pb.JobProgress:
    return pb.JobProgress(
        phase=pb.JobPhase.ValueType(record.phase),
        done_frames=record.done_frames,
        total_frames=record.total_frames,
        frames_per_s=record.frames_per_s,
        left_s=record.left_s,
        fraction=record.fraction,
        checkpoint_frames=record.checkpoint_frames,
    )


def output_message(output: JobOutput) -> pb.JobOutput:
    return pb.JobOutput(output_id=output.output_id, file=file_message(file_facts(output)))


def file_facts(output: JobOutput) -> FileFacts:
    return FileFacts(output.file_name, output.media_type, output.size_bytes, output.sha256)
