"""Export jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis.errors import ServiceError

from kinemask_gateway.exporting.coco import write_coco, write_youtube_vis
from kinemask_gateway.exporting.lines import write_csv, write_mot
from kinemask_gateway.exporting.pictures import write_png_masks
from kinemask_gateway.exporting.source import StoppedError, TrackSource, Wanted
from kinemask_gateway.jobs.body import JobBody, JobContext, JobOutcome, JobPhase
from kinemask_gateway.jobs.scratch import scratch_folder, told
from kinemask_gateway.rendering.span import span_of
from kinemask_gateway.tracks.origin import origin_of

OUTPUT = "export"
_TELL_EVERY_S = 0.25


@dataclass(frozen=True)
class Format:
    """How an export is written."""

    write: Callable[[Path, TrackSource], None]
    ending: str
    media_type: str
    passes: Callable[[TrackSource], int]
    """How often it goes through the frames, at most."""


FORMATS = {
    pb.EXPORT_FORMAT_COCO_VIDEO: Format(
        write_coco, "-coco.json", "application/json", lambda source: 2
    ),
    pb.EXPORT_FORMAT_YOUTUBE_VIS: Format(
        write_youtube_vis,
        "-ytvis.json",
        "application/json",
        lambda source: max(len(source.objects), 1),
    ),
    pb.EXPORT_FORMAT_MOT_CHALLENGE: Format(write_mot, "-mot.txt", "text/plain", lambda source: 1),
    pb.EXPORT_FORMAT_PNG_MASKS: Format(
        write_png_masks, "-masks.zip", "application/zip", lambda source: 1
    ),
    pb.EXPORT_FORMAT_CSV_TRACKS: Format(write_csv, "-tracks.csv", "text/csv", lambda source: 1),
}


class ExportBody(JobBody):
    """Writes what a track job or session has stored, in one of the formats. Calls no model."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def run(self, context: JobContext) -> JobOutcome:
        spec = pb.ExportJobSpec.FromString(context.spec)
        with told():
            source, progress = await _source(context, spec)
            async with scratch_folder(self._data_dir, context) as folder:
                kind = FORMATS[spec.format]
                target = folder / f"{PurePosixPath(source.name).stem[:150]}{kind.ending}"
                await _written(context, kind, target, source, progress)
                output = await context.add_output(
                    OUTPUT, target, file_name=target.name, media_type=kind.media_type
                )
        result = pb.ExportJobResult(
            output_id=output.output_id,
            object_count=len(source.objects),
            frame_count=source.frame_count,
        )
        return JobOutcome(result.SerializeToString(), (output,))


class _Progress:
    """Frames gone through; counted in the writing thread, read by the job."""

    def __init__(self, stopped: threading.Event) -> None:
        self.frames = 0
        self.total = 1
        self.over = False
        self._stopped = stopped

    def count(self) -> None:
        if self.over or self._stopped.is_set():
            raise StoppedError
        self.frames += 1


async def _source(context: JobContext, spec: pb.ExportJobSpec) -> tuple[TrackSource, _Progress]:
    origin = await origin_of(context, spec.source)
    name, fps = origin.name or "tracks", 0.0
    try:
        video = await context.library.get(origin.video_id)
    except ServiceError:  # tracks outlive their video
        pass
    else:
        name, fps = video.file.file_name, video.facts.average_fps
    span = span_of(spec.range, origin.reader)
    progress = _Progress(context.stopped)
    source = TrackSource(
        reader=origin.reader,
        wanted=Wanted.of(spec),
        first=span.first,
        last=span.last,
        name=name,
        video_id=origin.video_id,
        fps=fps,
        on_frame=progress.count,
    )
    return source, progress


async def _written(
    context: JobContext, kind: Format, target: Path, source: TrackSource, progress: _Progress
) -> None:
    def work() -> None:
        progress.total = 2 * source.frame_count
        source.survey()
        progress.total = (1 + kind.passes(source)) * source.frame_count
        kind.write(target, source)

    writing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while not (await asyncio.wait((writing,), timeout=_TELL_EVERY_S))[0]:
            share = min(progress.frames / progress.total, 1.0)
            done = int(share * source.frame_count)
            await context.progress(JobPhase.WRITE, done, source.frame_count, fraction=share)
        writing.result()
    finally:
        progress.over = True
        await asyncio.shield(asyncio.wait((writing,)))
