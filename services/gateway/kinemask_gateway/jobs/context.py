"""The context that a worker gives to a body; see body.py for what it promises."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
import uuid
from collections import deque
from pathlib import Path

from kinemask_gateway.jobs import records
from kinemask_gateway.jobs.body import Checkpoint, JobOutput, JobPhase
from kinemask_gateway.jobs.records import JobRecord, Progress
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.storage import ObjectMissingError, ObjectStore

_TELL_EVERY_S = 0.25
_RATE_OVER_S = 5.0
_OUTPUT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class AttemptContext:
    """One attempt at one job."""

    def __init__(
        self, job: JobRecord, database: Connects, library: Library, store: ObjectStore
    ) -> None:
        self.job_id = job.job_id
        self.kind = job.kind
        self.spec = job.spec
        self.attempt = job.attempts
        self.owner_id = job.owner_id
        self.library = library
        self.store = store
        self.stopped = threading.Event()
        self._database = database
        self._checkpoint_key = job.checkpoint_key
        self._checkpoint_frames = job.checkpoint_frames
        self._rate = Rate()
        self._told_s = 0.0
        self._told_phase: JobPhase | None = None

    async def set_spec(self, spec: bytes) -> None:
        async with self._database.connection() as connection:
            await records.set_spec(connection, self.job_id, self.attempt, spec)
        self.spec = spec

    async def progress(
        self, phase: JobPhase, done_frames: int, total_frames: int, *, fraction: float
    ) -> None:
        now_s = time.monotonic()
        self._rate.add(now_s, phase, done_frames, fraction)
        if phase is self._told_phase and now_s - self._told_s < _TELL_EVERY_S:
            return
        self._told_s, self._told_phase = now_s, phase
        told = Progress(
            phase=phase,
            done_frames=done_frames,
            total_frames=total_frames,
            frames_per_s=self._rate.frames_per_s,
            left_s=self._rate.left_s,
            fraction=min(max(fraction, 0.0), 1.0),
        )
        async with self._database.connection() as connection:
            await records.set_progress(connection, self.job_id, self.attempt, told)

    async def load_checkpoint(self) -> Checkpoint | None:
        if not self._checkpoint_key:
            return None
        try:
            payload = await self.store.get(self._checkpoint_key)
        except ObjectMissingError as error:
            # A later attempt has replaced it: this one is over.
            raise records.JobLostError("the checkpoint is another attempt's") from error
        return Checkpoint(payload, self._checkpoint_frames)

    async def save_checkpoint(self, payload: bytes, *, frames: int) -> None:
        before = self._checkpoint_key
        # A name of its own: the row changes from one whole object to another.
        key = f"{records.below(self.job_id)}/checkpoints/{self.attempt}-{uuid.uuid4().hex}"
        await self.store.put(key, payload)
        try:
            async with self._database.connection() as connection:
                await records.set_checkpoint(connection, self.job_id, self.attempt, key, frames)
        except records.JobLostError:
            await self.store.delete(key)
            raise
        self._checkpoint_key, self._checkpoint_frames = key, frames
        if before:
            await self.store.delete(before)

    def key(self, name: str) -> str:
        return f"{records.below(self.job_id)}/data/{self.attempt}/{name}"

    async def add_output(
        self, output_id: str, source: Path | bytes, *, file_name: str, media_type: str
    ) -> JobOutput:
        if not _OUTPUT_ID.fullmatch(output_id):
            raise ValueError(f"output_id: expected letters, digits, . _ or -, got {output_id!r}")
        key = f"{records.below(self.job_id)}/outputs/{self.attempt}-{output_id}"
        await self.store.put(key, source)
        size, sha256 = await asyncio.to_thread(_measured, source)
        return JobOutput(output_id, key, file_name, media_type, size, sha256)


class Rate:
    """Speed over the last seconds, and the time that is left at this attempt's pace."""

    def __init__(self) -> None:
        self.frames_per_s = 0.0
        self.left_s: float | None = None
        self._phase: JobPhase | None = None
        self._seen: deque[tuple[float, int, float]] = deque()

    def add(self, now_s: float, phase: JobPhase, done_frames: int, fraction: float) -> None:
        """Note how far it is."""
        if phase is not self._phase:
            self._phase = phase
            self._seen.clear()
        self._seen.append((now_s, done_frames, fraction))
        while now_s - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()
        since_s, first_frames, first_fraction = self._seen[0]
        took_s = now_s - since_s
        if took_s <= 0:
            return
        self.frames_per_s = (done_frames - first_frames) / took_s
        gained = fraction - first_fraction
        self.left_s = (1.0 - fraction) * took_s / gained if gained > 0 else None


def _measured(source: Path | bytes) -> tuple[int, str]:
    """Bytes and SHA-256."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return source.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
