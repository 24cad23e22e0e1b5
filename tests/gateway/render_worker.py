"""A worker whose track jobs make up tracks: `python -m tests.gateway.render_worker`.

On every frame: object 1, a face that is Ada's from frame 10 on; object 2, a cup; object 3, a face
of a decided stranger's, held by the leak guard on frames 5 to 9. They are discs that move to the
right. Words tell more: `late=N` begins the tracks at frame N, `wrong=1` makes them of another size,
`faceless=1` says that nobody looked for faces.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
from kinemask import masks
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, media_pb2
from kinemask_chassis.launch import main as launch
from kinemask_gateway.exporting.body import ExportBody
from kinemask_gateway.jobs.body import JobBody, JobContext, JobKind, JobOutcome
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService
from kinemask_gateway.rendering.body import RenderBody
from kinemask_gateway.tracks import records
from kinemask_gateway.tracks.values import (
    MaskOrigin,
    ObjectState,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)
from kinemask_gateway.tracks.writer import TracksWriter
from numpy.typing import NDArray

RADIUS_SHARE = 0.16


def disc(object_id: int, frame_index: int, height: int, width: int) -> NDArray[np.bool_]:
    """Where an object is."""
    rows, columns = np.mgrid[0:height, 0:width]
    x = width * 0.3 * (object_id - 0.5) + frame_index % 10
    distance = np.hypot(columns - x, rows - height / 2)
    return np.asarray(distance <= RADIUS_SHARE * min(height, width))


def tracked(frame_index: int, height: int, width: int) -> TrackedFrame:
    """What was found on a frame."""
    objects = tuple(_object(number, frame_index, height, width) for number in (1, 2, 3))
    return TrackedFrame(frame_index, frame_index * 40_000, objects, frame_index % 5 == 0)


def _object(object_id: int, frame_index: int, height: int, width: int) -> TrackedObject:
    mask = disc(object_id, frame_index, height, width)
    box = masks.mask_box(mask)
    guarded = object_id == 3 and 5 <= frame_index < 10
    names = {
        1: TrackedName("p1", "Ada", 0.6, frame_index >= 10),
        3: TrackedName("p3", "", 0.1, True),
    }
    return TrackedObject(
        object_id=object_id,
        label="cup" if object_id == 2 else "face",
        prompt="cup" if object_id == 2 else "Face",
        score=0.5 + object_id / 8,
        state=ObjectState.CONFIRMED,
        origin=MaskOrigin.LEAK_GUARD if guarded else MaskOrigin.FOLLOWED,
        box_xyxy=None if box is None else tuple(map(float, box)),  # type: ignore[arg-type]  # 4
        rle=masks.encode_rle(mask) if box else b"",
        area_px=int(mask.sum()),
        name=names.get(object_id),
    )


class MadeUp(JobBody):
    """Stores these tracks."""

    async def run(self, context: JobContext) -> JobOutcome:
        spec = pb.TrackJobSpec.FromString(context.spec)
        told = dict(word.partition("=")[::2] for word in spec.detect.options.prompts)
        if "faceless" not in told:
            spec.faces.gallery_id = "gallery"
            await context.set_spec(spec.SerializeToString())
        async with context.library.open(spec.video_id) as stored:
            facts, count = stored.video.facts, stored.index.frame_count
        height, width = facts.height + 2 * ("wrong" in told), facts.width
        writer = TracksWriter(context.store, context.key, (height, width))
        for number in range(int(told.get("late", "0")), count):
            await writer.add(tracked(number, height, width))
        kept = await writer.finish()
        result = pb.TrackJobResult(
            frame_count=count,
            objects=[pb.ObjectSummary(object_id=n, label="x") for n in (1, 2, 3)],
            at_risk=[_RISK],
            stages=[_STAGE],
        )
        return JobOutcome(
            result.SerializeToString(),
            on_commit=lambda connection: records.add(connection, context.job_id, kept),
        )


_RISK = pb.FramesAtRisk(
    first_frame_index=5,
    last_frame_index=9,
    object_id=3,
    reason=pb.RISK_REASON_GAP_COVERED,
    message="lost for 5 frames",
)
_STAGE = live_pb2.StageService(
    stage=live_pb2.STAGE_SEGMENT,
    service=media_pb2.ServiceInfo(service="segmenter", engine="disc", revision="r7"),
)


def bodies(settings: WorkerSettings) -> Mapping[JobKind, JobBody]:
    return {
        JobKind.TRACK: MadeUp(),
        JobKind.RENDER: RenderBody(settings.data_dir, lanes=2),
        JobKind.EXPORT: ExportBody(settings.data_dir),
    }


class RenderWorker(WorkerService):
    """The worker of the tests."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings, bodies)


if __name__ == "__main__":
    sys.exit(launch(RenderWorker, WorkerSettings))
