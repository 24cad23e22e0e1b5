"""A whole stack for track jobs, each service a process of its own, and calls on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import kinemask
from kinemask import wire
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import jobs_pb2_grpc

from benchmarks.harness import service_process
from benchmarks.track_scores import Masks

_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Ran:
    """A track job that has run."""

    job: pb.Job
    took_s: float
    masks: list[Masks]
    """For each frame: an object's id to its mask."""


class TrackStack:
    """Calls on a running stack."""

    def __init__(self, address: str, addresses: dict[str, str]) -> None:
        self.address = address
        self.addresses = addresses
        """Of the services behind, such as `segmenter_addresses`."""
        options = [("grpc.max_receive_message_length", _MAX_BYTES)]
        self._channel = grpc.insecure_channel(address, options=options)
        # The stubs' attributes are made at run time.
        self.jobs: Any = jobs_pb2_grpc.JobServiceStub(self._channel)

    def upload(self, path: Path) -> str:
        """The id of the video."""
        with kinemask.Client(self.address) as client:
            return client.videos.upload(path).video_id

    def start(self, spec: pb.TrackJobSpec) -> str:
        """Queue a job; its id."""
        answer = self.jobs.CreateTrackJob(pb.CreateTrackJobRequest(spec=spec))
        return str(answer.job.job_id)

    def track(self, spec: pb.TrackJobSpec) -> Ran:
        """Run a job to its end.

        Raises:
            RuntimeError: it failed.
        """
        began_s = time.monotonic()
        job = self.finished(self.start(spec))
        return Ran(job, time.monotonic() - began_s, self.masks(job.job_id))

    def finished(self, job_id: str) -> pb.Job:
        """The job once it has succeeded."""
        job = pb.Job()
        for reply in self.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id)):
            job = reply.job
        if job.state != pb.JOB_STATE_SUCCEEDED:
            raise RuntimeError(f"the job is {pb.JobState.Name(job.state)}: {job.error.message}")
        return job

    def masks(self, job_id: str) -> list[Masks]:
        """What a job found, frame by frame."""
        replies = self.jobs.GetTracks(pb.GetTracksRequest(job_id=job_id))
        return [
            {
                entry.object.object_id: wire.mask_from_message(entry.object.mask)
                for entry in reply.objects
                if entry.object.HasField("mask")
            }
            for reply in replies
        ]

    def close(self) -> None:
        self._channel.close()


@contextlib.contextmanager
def track_stack(folder: Path, script: Path, workers: int = 1) -> Iterator[TrackStack]:
    """Start everything; data lives in `folder`, the detector follows the script in a file."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        detector, _ = enter(
            service_process("benchmarks.scripted_detector", arguments=[str(script)])
        )
        segmenter, _ = enter(service_process("kinemask_segmenter"))
        tracker, _ = enter(service_process("kinemask_tracker"))
        behind = {
            "detector_addresses": detector,
            "segmenter_addresses": segmenter,
            "tracker_addresses": tracker,
        }
        told = {f"KINEMASK_{key.upper()}": value for key, value in behind.items()}
        told.update(KINEMASK_DATA_DIR=str(folder), KINEMASK_LIBRARY="on")
        gateway, _ = enter(service_process("kinemask_gateway", told))
        for _ in range(workers):
            enter(service_process("kinemask_gateway.worker", told))
        running = TrackStack(gateway, behind)
        stack.callback(running.close)
        yield running
