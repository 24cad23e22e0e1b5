"""JobService: messages to plain values and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import jobs_pb2_grpc
from kinemask_chassis import errors

from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import JobKind, JobOutput, JobState
from kinemask_gateway.jobs.creation import CreateRequest, Creation
from kinemask_gateway.jobs.messages import file_facts, job_message
from kinemask_gateway.jobs.records import JobRecord
from kinemask_gateway.library import answers, loose, pages
from kinemask_gateway.library.messages import file_message, plain_text
from kinemask_gateway.library.parts import StoredParts
from kinemask_gateway.library.servicer import check_offset, chunks
from kinemask_gateway.library.sql import Connection
from kinemask_gateway.tracks.finding import frame_messages, tracks_of_job

_LOOK_EVERY_S = 0.2
_TELL_EVERY_S = 0.9

AnswerT = TypeVar(
    "AnswerT", pb.CreateTrackJobResponse, pb.CreateRenderJobResponse, pb.CreateExportJobResponse
)


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """Queues jobs and tells how they are."""

    def __init__(self, parts: StoredParts, kinds: tuple[JobKind, ...], max_queued: int) -> None:
        self._database = parts.database
        self._store = parts.library.store
        self._leaving = parts.leaving
        self._creation = Creation(parts.queue, kinds, max_queued)
        parts.deletion.before_delete(release_video)

    async def CreateTrackJob(
        self, request: pb.CreateTrackJobRequest, context: Any
    ) -> pb.CreateTrackJobResponse:
        return await self._create(request, pb.CreateTrackJobResponse)

    async def CreateRenderJob(
        self, request: pb.CreateRenderJobRequest, context: Any
    ) -> pb.CreateRenderJobResponse:
        return await self._create(request, pb.CreateRenderJobResponse)

    async def CreateExportJob(
        self, request: pb.CreateExportJobRequest, context: Any
    ) -> pb.CreateExportJobResponse:
        return await self._create(request, pb.CreateExportJobResponse)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=await self._whole(request.job_id))

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobResponse]:
        revision, told_s = -1, 0.0
        while True:
            async with self._database.connection() as connection:
                job = await records.get(connection, request.job_id)
            due = job.state is JobState.RUNNING and time.monotonic() - told_s >= _TELL_EVERY_S
            if job.revision != revision or due:
                revision, told_s = job.revision, time.monotonic()
                whole = await self._whole(job.job_id) if job.state.is_finished else None
                yield pb.WatchJobResponse(job=whole or job_message(job))
            if job.state.is_finished:
                return
            if self._leaving.is_set():
                raise errors.unavailable("this replica is leaving", reason="SHUTTING_DOWN")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.CancelJobResponse):
                return found
            job = await records.get(connection, request.job_id, lock=True)
            if job.state.is_finished:
                what = f"the job has finished: it is {job.state.name}"
                raise errors.failed_precondition(what, reason="JOB_FINISHED")
            await cancel(connection, job)
            now = await records.get(connection, request.job_id)
            answer = pb.CancelJobResponse(job=job_message(now))
            await answers.remember(connection, request, answer)
        return answer

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        before, size = pages.before(request), pages.page_size(request.page_size)
        wanted = records.JobFilter(
            kinds=tuple(request.kinds),
            states=tuple(request.states),
            video_id=plain_text("video_id", request.video_id),
        )
        async with self._database.connection() as connection:
            found = await records.page(connection, wanted, before, size + 1)
        more = pages.token(request, found[size - 1].position) if len(found) > size else ""
        jobs = [job_message(job, with_result=False) for job in found[:size]]
        return pb.ListJobsResponse(jobs=jobs, next_page_token=more)

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Any) -> pb.DeleteJobResponse:
        answer = pb.DeleteJobResponse()
        async with self._database.connection() as connection:
            if await answers.recall(connection, request, pb.DeleteJobResponse):
                return answer
            job = await records.get(connection, request.job_id, lock=True)
            users = await records.unfinished(connection, needs_job_id=request.job_id)
            if (users or not job.state.is_finished) and not request.force:
                raise _in_use("the job", [*users, *([] if job.state.is_finished else [job])])
            for user in users:
                await cancel(connection, user)
            await records.remove(connection, job.job_id)
            await loose.announce(connection, records.below(job.job_id))
            await answers.remember(connection, request, answer)
        await loose.remove(self._database, self._store, records.below(request.job_id))
        return answer

    async def GetTracks(
        self, request: pb.GetTracksRequest, context: Any
    ) -> AsyncIterator[pb.GetTracksResponse]:
        reader = await tracks_of_job(self._database, self._store, request.job_id)
        async for message in frame_messages(reader, request):
            yield message

    async def DownloadOutput(
        self, request: pb.DownloadOutputRequest, context: Any
    ) -> AsyncIterator[pb.DownloadOutputResponse]:
        output = await self._output(request.job_id, request.output_id)
        check_offset(request.offset, output.size_bytes)
        yield pb.DownloadOutputResponse(file=file_message(file_facts(output)))
        gone = records.no_job(request.job_id)
        pieces = chunks(self._store, output.object_key, request, gone)
        async with aclosing(pieces):
            async for chunk in pieces:
                yield pb.DownloadOutputResponse(chunk=chunk)

    async def _create(self, request: CreateRequest, answer_type: type[AnswerT]) -> AnswerT:
        plain_text("display_name", request.display_name)
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, answer_type):
                return found
            job = await self._creation.create(connection, request)
            answer = answer_type(job=job_message(job))
            await answers.remember(connection, request, answer)
        return answer

    async def _whole(self, job_id: str) -> pb.Job:
        async with self._database.connection() as connection:
            job = await records.get(connection, job_id)
            return job_message(job, await records.outputs(connection, job_id))

    async def _output(self, job_id: str, output_id: str) -> JobOutput:
        """A file of a job; the first one where none is named."""
        async with self._database.connection() as connection:
            job = await records.get(connection, job_id)
            found = await records.outputs(connection, job_id)
        if job.state is not JobState.SUCCEEDED:
            what = f"the job is {job.state.name}; it has files once it has SUCCEEDED"
            raise errors.failed_precondition(what, reason="JOB_NOT_SUCCEEDED")
        for output in found:
            if output_id in ("", output.output_id):
                return output
        known = ", ".join(output.output_id for output in found) or "none"
        what = f"the job has no file {output_id or '(its main one)'}; there are: {known}"
        raise errors.not_found(what, available=known)


async def cancel(connection: Connection, job: JobRecord) -> None:
    """Stop a job; what it stored is loose if it never ran again."""
    if await records.request_cancel(connection, job) is JobState.CANCELLED:
        await loose.announce(connection, records.below(job.job_id))


async def release_video(connection: Connection, video_id: str, force: bool) -> None:
    """Before a video is deleted: its jobs are cancelled if that is forced.

    Raises:
        ServiceError: FAILED_PRECONDITION, reason IN_USE.
    """
    users = await records.unfinished(connection, video_id=video_id)
    if users and not force:
        raise _in_use("the video", users)
    for user in users:
        await cancel(connection, user)


def _in_use(what: str, users: list[JobRecord]) -> errors.ServiceError:
    names = ", ".join(user.job_id for user in users[:10])
    message = f"{what} is used by jobs that have not finished: {names}; force cancels them"
    return errors.failed_precondition(message, reason="IN_USE", jobs=names)
