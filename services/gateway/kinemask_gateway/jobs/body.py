"""What a kind of job is written against: one coroutine, and a context that survives its worker.

class Count(JobBody):
    async def run(self, context: JobContext) -> JobOutcome:
        saved = await context.load_checkpoint()
        first = int(saved.payload) if saved else 0
        for frame in range(first, 100):
            ...                                      # blocking work: await asyncio.to_thread(...)
            await context.progress(JobPhase.FOLLOW, frame + 1, 100, fraction=(frame + 1) / 100)
            if (frame + 1) % 10 == 0:
                await context.save_checkpoint(str(frame + 1).encode(), frames=frame + 1)
        return JobOutcome(result.SerializeToString())

A worker may be killed at any instruction: whatever is not in a checkpoint, or in an object that a
checkpoint names, is done again by another. A cancelled job's coroutine gets a CancelledError at its
next await; work in threads looks at `context.stopped`.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connection
from kinemask_gateway.storage import ObjectStore


class JobKind(IntEnum):
    """What a job does; numbers as in jobs.proto."""

    TRACK = 1
    RENDER = 2
    EXPORT = 3


class JobState(IntEnum):
    """Where a job is in its life; numbers as in jobs.proto."""

    QUEUED = 1
    RUNNING = 2
    CANCELLING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6

    @property
    def is_finished(self) -> bool:
        return self >= JobState.SUCCEEDED


class JobPhase(IntEnum):
    """What a job is at; numbers as in jobs.proto."""

    PROBE = 1
    FOLLOW = 2
    BACKWARD_FILL = 3
    LEAK_GUARD = 4
    RENDER = 5
    WRITE = 6


@dataclass(frozen=True)
class Checkpoint:
    """Where to go on."""

    payload: bytes
    """What `save_checkpoint` was given."""
    frames: int
    """Frames that need not be done again."""


@dataclass(frozen=True)
class JobOutput:
    """A file that a job made, stored already."""

    output_id: str
    """Unique within the job."""
    object_key: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class JobOutcome:
    """What came of a job."""

    result: bytes
    """The serialized TrackJobResult, RenderJobResult or ExportJobResult."""
    outputs: tuple[JobOutput, ...] = field(default=())
    """Made by `JobContext.add_output`; the first is the main one."""
    on_commit: Callable[[Connection], Awaitable[None]] | None = None
    """Called in the transaction that finishes the job: what it writes is there exactly if the job
    has succeeded."""


class JobFailedError(Exception):
    """Raised by a body: the job cannot be done, and another try would not help."""

    def __init__(self, message: str, reason: str = "JOB_FAILED") -> None:
        super().__init__(message)
        self.reason = reason


class JobContext(Protocol):
    """A job as its body sees it.

    Every method raises JobLostError once the job was given to another worker, and a ServiceError if
    database or object store are away; neither is to be caught.
    """

    job_id: str
    kind: JobKind
    spec: bytes
    """The serialized TrackJobSpec, RenderJobSpec or ExportJobSpec."""
    attempt: int
    """From 1; above 1 after a worker died."""
    owner_id: str
    library: Library
    store: ObjectStore
    stopped: threading.Event
    """Set once the result is wanted no more; threads look at it between two frames."""

    async def set_spec(self, spec: bytes) -> None:
        """Replace the spec by one with defaults filled in."""
        ...

    async def progress(
        self, phase: JobPhase, done_frames: int, total_frames: int, *, fraction: float
    ) -> None:
        """Say how far it is; cheap, so after every frame is fine.

        Args:
            phase: what it is at.
            done_frames, total_frames: in this phase.
            fraction: 0..1 of the whole job; a lower one than before is not shown.
        """
        ...

    async def load_checkpoint(self) -> Checkpoint | None:
        """What the last `save_checkpoint` of any attempt stored; None where there is none."""
        ...

    async def save_checkpoint(self, payload: bytes, *, frames: int) -> None:
        """Replace the checkpoint, all or nothing. Any size up to what fits into memory."""
        ...

    def key(self, name: str) -> str:
        """The key for an object of this job's, of this attempt's own, below `jobs/ID/data/`.

        Objects of killed attempts stay, so a checkpoint or result may name them. All of them go
        when the job fails, is cancelled or is deleted.
        """
        ...

    async def add_output(
        self, output_id: str, source: Path | bytes, *, file_name: str, media_type: str
    ) -> JobOutput:
        """Store a file for clients to download."""
        ...


class JobBody(Protocol):
    """How one kind of job is done. One instance may run several jobs at a time."""

    async def run(self, context: JobContext) -> JobOutcome:
        """Do the job.

        Raises:
            JobFailedError, ServiceError: it cannot be done; clients see why.
        """
        ...
