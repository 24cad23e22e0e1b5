"""A worker whose track jobs count: `python -m tests.gateway.counting_worker`.

What a job is told stands in its words: `frames=N`, `pause_ms=N`, `chunk=N` (frames between two
checkpoints), `fail=TEXT`, `crash=1`, `stuck=1` (it does not await anything that ends).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis.launch import main as launch
from kinemask_gateway.jobs.body import (
    JobBody,
    JobContext,
    JobFailedError,
    JobKind,
    JobOutcome,
    JobPhase,
)
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService


class Counting(JobBody):
    """Adds up the numbers of frames; its result is the list of all it has seen, once each."""

    async def run(self, context: JobContext) -> JobOutcome:
        spec = pb.TrackJobSpec.FromString(context.spec)
        told = dict(word.partition("=")[::2] for word in spec.detect.options.prompts)
        frames, every = int(told.get("frames", "10")), int(told.get("chunk", "5"))
        saved = await context.load_checkpoint()
        seen = [int(n) for n in saved.payload.split()] if saved else []
        assert saved is None or saved.frames == len(seen)
        while len(seen) < frames:
            await self._frame(context, told, len(seen))
            seen.append(len(seen))
            await context.progress(JobPhase.FOLLOW, len(seen), frames, fraction=len(seen) / frames)
            if len(seen) % every == 0:
                payload = " ".join(map(str, seen)).encode()
                await context.save_checkpoint(payload, frames=len(seen))
        text = " ".join(map(str, seen)).encode()
        output = await context.add_output(
            "numbers", text, file_name="numbers.txt", media_type="text/plain"
        )
        result = pb.TrackJobResult(frame_count=len(seen), detected_frame_count=context.attempt)
        return JobOutcome(result.SerializeToString(), (output,))

    async def _frame(self, context: JobContext, told: Mapping[str, str], number: int) -> None:
        if "fail" in told and number == 3:
            raise JobFailedError(told["fail"], reason="TOLD_TO_FAIL")
        if "crash" in told and number == 3:
            raise ZeroDivisionError
        if "stuck" in told:
            await asyncio.to_thread(context.stopped.wait, 60)
        await asyncio.sleep(float(told.get("pause_ms", "0")) / 1000)


def bodies(settings: WorkerSettings) -> Mapping[JobKind, JobBody]:
    return {JobKind.TRACK: Counting()}


class CountingWorker(WorkerService):
    """The worker of the tests."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings, bodies)


if __name__ == "__main__":
    sys.exit(launch(CountingWorker, WorkerSettings))
