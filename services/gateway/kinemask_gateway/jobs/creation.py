"""New jobs: what is asked for is checked against what is there, then put in line."""

from __future__ import annotations

import uuid
from typing import TypeAlias

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import records as sessions
from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import JobKind, JobState
from kinemask_gateway.jobs.queue import JobQueue
from kinemask_gateway.jobs.records import JobRecord, NewJob
from kinemask_gateway.library import records as videos
from kinemask_gateway.library.facts import Video
from kinemask_gateway.library.sql import Connection
from kinemask_gateway.rendering.checks import check_render

Spec: TypeAlias = "pb.TrackJobSpec | pb.RenderJobSpec | pb.ExportJobSpec"
CreateRequest: TypeAlias = (
    "pb.CreateTrackJobRequest | pb.CreateRenderJobRequest | pb.CreateExportJobRequest"
)

_RETRY_AFTER_S = 10.0
_KIND_OF = {
    pb.TrackJobSpec: JobKind.TRACK,
    pb.RenderJobSpec: JobKind.RENDER,
    pb.ExportJobSpec: JobKind.EXPORT,
}


class Creation:
    """Queues jobs."""

    def __init__(self, queue: JobQueue, kinds: tuple[JobKind, ...], max_queued: int) -> None:
        """`kinds`: those that workers have bodies for."""
        self._queue = queue
        self._kinds = kinds
        self._max_queued = max_queued

    async def create(self, connection: Connection, request: CreateRequest) -> JobRecord:
        """Check and queue.

        Raises:
            ServiceError: as jobs.proto says of each Create rpc.
        """
        kind = _KIND_OF[type(request.spec)]
        if kind not in self._kinds:
            raise errors.unimplemented(f"{kind.name.lower()} jobs are not built yet")
        if await records.count_queued(connection) >= self._max_queued:
            what = f"{self._max_queued} jobs wait already"
            raise errors.exhausted(what, "TOO_MANY_JOBS", _RETRY_AFTER_S)
        if isinstance(request.spec, pb.TrackJobSpec):
            new = await self._track(connection, request.spec)
        else:
            of_session = request.spec.source.WhichOneof("source") == "session_id"
            make = self._of_session if of_session else self._of_tracks
            new = await make(connection, kind, request.spec)
        named = NewJob(
            kind=kind,
            spec=new.spec,
            display_name=request.display_name or new.display_name,
            video_id=new.video_id,
            needs_job_id=new.needs_job_id,
            session_id=new.session_id,
        )
        job_id = uuid.uuid4().hex
        await records.add(connection, job_id, named)
        await self._queue.enqueue(connection, job_id)
        return await records.get(connection, job_id)

    async def _track(self, connection: Connection, spec: pb.TrackJobSpec) -> NewJob:
        # Locked, so that it is not deleted between this look and the end of the transaction.
        video = await videos.get(connection, spec.video_id, lock=True)
        _check_range(spec, video)
        _check_track(spec, video)
        return NewJob(JobKind.TRACK, spec.SerializeToString(), video.display_name, video.video_id)

    async def _of_tracks(
        self, connection: Connection, kind: JobKind, spec: pb.RenderJobSpec | pb.ExportJobSpec
    ) -> NewJob:
        """A render or export, of a track job that has succeeded."""
        source = await records.get(connection, spec.source.track_job_id, lock=True)
        if source.kind is not JobKind.TRACK:
            what = f"expected a track job, got a {source.kind.name.lower()} job"
            raise errors.invalid("spec.source.track_job_id", what)
        if source.state is not JobState.SUCCEEDED:
            what = f"the track job is {source.state.name}; wait until it has SUCCEEDED"
            raise errors.failed_precondition(what, reason="TRACK_JOB_NOT_SUCCEEDED")
        name = source.display_name
        if kind is JobKind.RENDER:
            try:
                video = await videos.get(connection, source.video_id, lock=True)
            except errors.ServiceError as error:
                what = f"the video {source.video_id} was deleted, so it cannot be rendered"
                raise errors.failed_precondition(what, reason="VIDEO_DELETED") from error
            name = video.display_name
        if isinstance(spec, pb.RenderJobSpec):
            found = pb.TrackJobResult.FromString(source.result or b"")
            track = pb.TrackJobSpec.FromString(source.spec)
            known = {entry.object_id for entry in found.objects}
            check_render(spec, known, with_names=track.HasField("faces"))
        _check_range(spec, None)
        return NewJob(kind, spec.SerializeToString(), name, source.video_id, source.job_id)

    async def _of_session(
        self, connection: Connection, kind: JobKind, spec: pb.RenderJobSpec | pb.ExportJobSpec
    ) -> NewJob:
        """A render or export, of an annotation session as it is when the job begins."""
        # Locked as the video above; sessions go with their video.
        session = await sessions.get(connection, spec.source.session_id, lock=True)
        video = await videos.get(connection, session.video_id)
        if isinstance(spec, pb.RenderJobSpec):
            known = await sessions.objects(connection, session.session_id)
            check_render(spec, known, with_names=False)
        _check_range(spec, video)
        told, video_id = spec.SerializeToString(), video.video_id
        return NewJob(kind, told, session.display_name, video_id, session_id=session.session_id)


def _check_range(spec: Spec, video: Video | None) -> None:
    wanted = spec.range
    first = wanted.first_frame_index if wanted.HasField("first_frame_index") else 0
    if wanted.HasField("last_frame_index") and wanted.last_frame_index < first:
        what = f"expected at least the first, {first}, got {wanted.last_frame_index}"
        raise errors.invalid("spec.range.last_frame_index", what)
    if video is not None and first >= video.facts.frame_count:
        what = f"expected a frame from 0 to {video.facts.frame_count - 1}, got {first}"
        raise errors.invalid("spec.range.first_frame_index", what)


def _check_track(spec: pb.TrackJobSpec, video: Video) -> None:
    if not spec.HasField("detect") and not spec.prompts:
        raise errors.invalid("spec", "expected words to detect or prompts, got neither")
    for number, word in enumerate(spec.detect.options.prompts):
        if not word.strip():
            what = "expected a word, got an empty text"
            raise errors.invalid(f"spec.detect.options.prompts[{number}]", what)
    if spec.detect.timing == live_pb2.DETECTION_TIMING_ASYNC:
        what = "expected a timing that is not ASYNC: a stored video waits"
        raise errors.invalid("spec.detect.timing", what)
    for number, entry in enumerate(spec.prompts):
        where = f"spec.prompts[{number}]"
        if entry.frame_index >= video.facts.frame_count:
            last = video.facts.frame_count - 1
            what = f"expected a frame from 0 to {last}, got {entry.frame_index}"
            raise errors.invalid(f"{where}.frame_index", what)
        if not entry.prompt.object_id:
            raise errors.invalid(f"{where}.prompt.object_id", "expected at least 1, got 0")
