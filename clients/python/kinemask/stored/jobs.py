"""Jobs on stored videos."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from kinemask.client._calls import ResultT
from kinemask.config import Effect
from kinemask.errors import NotFoundError
from kinemask.stored import _decode
from kinemask.stored._calls import Calls
from kinemask.stored._transfer import OnBytes, download, until_done
from kinemask.stored.rendering import (
    ExportFormatName,
    ExportOptions,
    RenderOptions,
    RenderRule,
    content_id,
    export_request,
    render_request,
    track_source,
)
from kinemask.stored.tracking import TrackedFrame, TrackOptions, track_request, tracked_frame
from kinemask.stored.types import Job, JobKindName, JobStateName
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1.jobs_pb2_grpc import JobServiceStub
from kinemask.v1.videos_pb2 import FrameRange


class Jobs:
    """Queues, watches, stops and reads jobs; `client.jobs`. Every method raises KinemaskError."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def track(
        self,
        video_id: str,
        text: Sequence[str],
        options: TrackOptions | None = None,
        *,
        name: str = "",
        resume: bool = False,
    ) -> Job:
        """Queue a search: everything that answers the words, followed through a stored video.

        Arguments as for `render`; `text`: at least one word or phrase.
        """
        request = track_request(video_id, text, options or TrackOptions(), name)
        return self._create("CreateTrackJob", request, resume)

    def tracks(
        self,
        job_id: str,
        *,
        first_frame: int | None = None,
        last_frame: int | None = None,
        object_ids: Sequence[int] = (),
    ) -> Iterator[TrackedFrame]:
        """What a track job has found, frame by frame; by default all of it."""
        wanted = FrameRange(first_frame_index=first_frame, last_frame_index=last_frame)
        request = pb.GetTracksRequest(job_id=job_id, range=wanted, object_ids=object_ids)
        for answer in self._calls.stream(JobServiceStub, "GetTracks", request):
            yield tracked_frame(answer)

    def render(
        self,
        track_job_id: str,
        rules: Sequence[RenderRule | Effect | str],
        options: RenderOptions | None = None,
        *,
        name: str = "",
        resume: bool = False,
        from_session: bool = False,
    ) -> Job:
        """Queue a render: effects on what a track job has found, or a session holds.

        Args:
            track_job_id: a track job that has succeeded.
            rules: what is drawn, one after another; an effect alone is drawn on all objects.
            options: how it is written.
            name: what to call it; by default the video's name.
            resume: give the job that the same call of the last 24 hours has queued, if it has not
                failed and is still there; not for sessions, which change.
            from_session: `track_job_id` names an annotation session instead, which is drawn as it
                is when the job begins.
        """
        whole = [rule if isinstance(rule, RenderRule) else RenderRule([rule]) for rule in rules]
        source = track_source(track_job_id, from_session)
        request = render_request(source, whole, options or RenderOptions(), name)
        return self._create("CreateRenderJob", request, resume)

    def export(
        self,
        track_job_id: str,
        kind: ExportFormatName,
        options: ExportOptions | None = None,
        *,
        name: str = "",
        resume: bool = False,
        from_session: bool = False,
    ) -> Job:
        """Queue an export: what a track job has found, or a session holds, as a file.

        Arguments as for `render`; `kind` is one of coco, youtube-vis, mot, png and csv.
        """
        source = track_source(track_job_id, from_session)
        request = export_request(source, kind, options or ExportOptions(), name)
        return self._create("CreateExportJob", request, resume)

    def get(self, job_id: str) -> Job:
        """One job, with its files."""
        request = pb.GetJobRequest(job_id=job_id)
        return self._single("GetJob", request, lambda answer: _decode.job(answer.job))

    def list(
        self,
        *,
        kinds: Sequence[JobKindName] = (),
        states: Sequence[JobStateName] = (),
        video_id: str = "",
    ) -> Iterator[Job]:
        """The jobs, newest first, fetched a page at a time."""
        request = pb.ListJobsRequest(
            kinds=[pb.JobKind.Value(f"JOB_KIND_{kind.upper()}") for kind in kinds],
            states=[pb.JobState.Value(f"JOB_STATE_{state.upper()}") for state in states],
            video_id=video_id,
        )
        while True:
            page = self._single("ListJobs", request, lambda answer: answer)
            yield from map(_decode.job, page.jobs)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, job_id: str) -> Iterator[Job]:
        """The job as it is now and at every change, until it has finished.

        Leaving does not disturb the job. A connection that breaks ends it: see `wait`.
        """
        request = pb.WatchJobRequest(job_id=job_id)
        for answer in self._calls.stream(JobServiceStub, "WatchJob", request):
            yield _decode.job(answer.job)

    def wait(self, job_id: str, on_progress: Callable[[Job], None] | None = None) -> Job:
        """The job once it has finished, however; a connection that breaks is waited for."""
        last: list[Job] = []

        def step() -> int | None:
            for job in self.watch(job_id):
                last[:] = [job]
                if on_progress is not None:
                    on_progress(job)
            return None if last and last[0].is_finished else 0

        until_done(step)
        return last[0]

    def cancel(self, job_id: str) -> Job:
        """Stop a job: it is cancelled at once, or within a second if it runs."""
        request = pb.CancelJobRequest(job_id=job_id, request_id=uuid.uuid4().hex)
        return self._single("CancelJob", request, lambda answer: _decode.job(answer.job))

    def delete(self, job_id: str, *, force: bool = False) -> None:
        """Remove a job with its files; `force` cancels it and those that need it."""
        request = pb.DeleteJobRequest(job_id=job_id, force=force, request_id=uuid.uuid4().hex)
        self._single("DeleteJob", request, lambda answer: None)

    def download(
        self,
        job_id: str,
        path: str | Path,
        *,
        output_id: str = "",
        on_bytes: OnBytes | None = None,
    ) -> None:
        """Fetch a file that a job made; by default its main one.

        Raises:
            OSError: it cannot be written.
        """

        def ask(offset: int) -> Iterator[Any]:
            request = pb.DownloadOutputRequest(job_id=job_id, output_id=output_id, offset=offset)
            return self._calls.stream(JobServiceStub, "DownloadOutput", request)

        download(Path(path), ask, on_bytes)

    def _create(
        self,
        method: str,
        request: pb.CreateTrackJobRequest | pb.CreateRenderJobRequest | pb.CreateExportJobRequest,
        resume: bool,
    ) -> Job:
        if resume:
            request.request_id = content_id(request)
            before = self._found(self._queued(method, request).job_id)
            if before is not None and before.state not in ("failed", "cancelling", "cancelled"):
                return before
        request.request_id = uuid.uuid4().hex
        return self._queued(method, request)

    def _queued(self, method: str, request: Message) -> Job:
        return self._single(method, request, lambda answer: _decode.job(answer.job))

    def _found(self, job_id: str) -> Job | None:
        try:
            return self.get(job_id)
        except NotFoundError:
            return None

    def _single(
        self,
        method: str,
        request: Message,
        decode: Callable[[Any], ResultT],
        timeout_s: float | None = None,
    ) -> ResultT:
        return self._calls.single(JobServiceStub, method, request, decode, timeout_s)
