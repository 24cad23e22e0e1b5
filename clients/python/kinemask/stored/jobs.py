"""Jobs on stored videos."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from kinemask.client._calls import ResultT
from kinemask.stored import _decode
from kinemask.stored._calls import Calls
from kinemask.stored._transfer import OnBytes, download, until_done
from kinemask.stored.types import Job, JobKindName, JobStateName
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1.jobs_pb2_grpc import JobServiceStub


class Jobs:
    """Watches, stops and reads jobs; `client.jobs`. Every method raises KinemaskError."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

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

    def _single(
        self,
        method: str,
        request: Message,
        decode: Callable[[Any], ResultT],
        timeout_s: float | None = None,
    ) -> ResultT:
        return self._calls.single(JobServiceStub, method, request, decode, timeout_s)
