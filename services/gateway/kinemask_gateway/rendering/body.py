"""Render jobs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path, PurePosixPath

from kinemask.v1 import jobs_pb2 as pb
from kinemask.video import VideoError, index_video, probe_video

from kinemask_gateway.jobs.body import (
    JobBody,
    JobContext,
    JobFailedError,
    JobOutcome,
    JobOutput,
)
from kinemask_gateway.jobs.messages import file_facts
from kinemask_gateway.jobs.scratch import scratch_folder, told
from kinemask_gateway.library import loose
from kinemask_gateway.library import records as videos
from kinemask_gateway.library.admission import Candidate
from kinemask_gateway.library.library import StoredVideo
from kinemask_gateway.library.messages import file_message
from kinemask_gateway.library.sql import Connection
from kinemask_gateway.rendering import audit
from kinemask_gateway.rendering.coverage import Coverage
from kinemask_gateway.rendering.drawing import Drawing
from kinemask_gateway.rendering.joining import settings_for
from kinemask_gateway.rendering.lane import Source
from kinemask_gateway.rendering.rules import fill_in, rules_of
from kinemask_gateway.rendering.run import Render
from kinemask_gateway.rendering.span import span_of
from kinemask_gateway.tracks.origin import Origin, origin_of
from kinemask_gateway.tracks.reader import TracksReader

VIDEO_OUTPUT = "video"
AUDIT_OUTPUT = "audit"


class RenderBody(JobBody):
    """Draws what a track job or session has stored, on its video. Calls no model."""

    def __init__(self, data_dir: Path, lanes: int = 0) -> None:
        """`lanes`: chunks worked on at a time; 0: one for each core of this process."""
        self._data_dir = data_dir
        self._lanes = lanes or len(os.sched_getaffinity(0))

    async def run(self, context: JobContext) -> JobOutcome:
        began_s = time.monotonic()
        spec = pb.RenderJobSpec.FromString(context.spec)
        fill_in(spec)
        await context.set_spec(spec.SerializeToString())
        origin = await origin_of(context, spec.source)
        with told():
            async with (
                context.library.open(origin.video_id) as stored,
                scratch_folder(self._data_dir, context) as folder,
            ):
                source = await asyncio.to_thread(_source, spec, stored, origin.reader)
                target = folder / _file_name(stored)
                render = Render(context, source, self._lanes)
                coverage = await render.run(target, spec.audio == pb.AUDIO_POLICY_KEEP)
                await asyncio.to_thread(_check, target, source.span.frame_count)
                made = _Made(context, spec, origin, stored, source, coverage)
                return await made.outcome(target, began_s)


class _Made:
    """A render that is there, and what is told of it."""

    def __init__(
        self,
        context: JobContext,
        spec: pb.RenderJobSpec,
        origin: Origin,
        stored: StoredVideo,
        source: Source,
        coverage: Coverage,
    ) -> None:
        self._context = context
        self._spec = spec
        self._origin = origin
        self._stored = stored
        self._source = source
        self._coverage = coverage

    async def outcome(self, target: Path, began_s: float) -> JobOutcome:
        context = self._context
        video = await context.add_output(
            VIDEO_OUTPUT, target, file_name=target.name, media_type="video/mp4"
        )
        record = self._record(video)
        told_of = await context.add_output(
            AUDIT_OUTPUT,
            audit.to_json(record),
            file_name=f"{target.stem}-audit.json",
            media_type="application/json",
        )
        result = pb.RenderJobResult(
            output_id=video.output_id,
            audit_output_id=told_of.output_id,
            audit=record,
        )
        candidate = await self._added(target) if self._spec.add_to_library else None
        if candidate is not None:
            result.video_id = candidate.video.video_id
        result.elapsed_s = time.monotonic() - began_s

        async def on_commit(connection: Connection) -> None:
            if candidate is not None:
                number = candidate.thumbnail_frame_index
                await videos.add(connection, candidate.video, number)
                await loose.claim(connection, candidate.prefix)

        return JobOutcome(result.SerializeToString(), (video, told_of), on_commit)

    def _record(self, output: JobOutput) -> pb.AuditRecord:
        found, span = self._origin.found, self._source.span
        record = audit.new_record(self._context.job_id, self._context.owner_id)
        record.input.CopyFrom(file_message(self._stored.video.file))
        record.output.CopyFrom(file_message(file_facts(output)))
        record.input_frame_count = record.output_frame_count = span.frame_count
        self._origin.tell(record)
        record.render.CopyFrom(self._spec)
        record.objects.extend(audit.objects_covered(self._coverage))
        record.at_risk.extend(audit.at_risk(found.at_risk, self._coverage, span))
        return record

    async def _added(self, target: Path) -> Candidate:
        name = f"{self._stored.video.display_name} (render)"[:200]
        context = self._context
        return await context.library.add_file(
            target, target.name, name, context.job_id, context.owner_id
        )


def _source(spec: pb.RenderJobSpec, stored: StoredVideo, tracks: TracksReader) -> Source:
    """Raises JobFailedError: the range has no tracks, or they are of another picture."""
    info = probe_video(stored.path, max_pixels=2**31)
    manifest = tracks.manifest
    if (info.height, info.width) != (manifest.height, manifest.width):
        what = f"the tracks are of {manifest.width}x{manifest.height} pixels"
        raise JobFailedError(f"{what}, the video has {info.width}x{info.height}", "WRONG_SIZE")
    span = span_of(spec.range, tracks)
    whole = span.frame_count == stored.index.frame_count
    return Source(
        path=stored.path,
        index=stored.index,
        info=info,
        tracks=tracks,
        drawing=Drawing(rules_of(spec.rules)),
        settings=settings_for(info, crf=spec.crf, max_side_px=spec.max_side_px),
        span=span,
        first_pts=0 if whole else int(stored.index.pts[span.first]),
    )


def _check(target: Path, frames: int) -> None:
    """A full disk may go unnoticed by a muxer: look whether all of it is there."""
    found = index_video(target)
    if found.damage or found.index.frame_count != frames:
        what = f"it has {found.index.frame_count} frames, expected {frames} ({found.damage})"
        raise VideoError(target, what)


def _file_name(stored: StoredVideo) -> str:
    return f"{PurePosixPath(stored.video.file.file_name).stem[:150]}-render.mp4"
