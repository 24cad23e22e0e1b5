"""A track job from begin to end: follow, carry back, look over, cover, store."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import structlog
from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.downstream import Downstream
from kinemask_gateway.following.backward import BackwardPass
from kinemask_gateway.following.covers import Cover, OpenGap, Sweep, plan_covers
from kinemask_gateway.following.final import FinalPass, spans_of
from kinemask_gateway.following.forward import ForwardPass, StageLostError, Told
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.following.guard import Guard
from kinemask_gateway.following.merged import MergedTracks
from kinemask_gateway.following.results import frames_at_risk, object_summaries
from kinemask_gateway.following.sightings import under, without
from kinemask_gateway.following.sparse import SparseReader
from kinemask_gateway.following.spec import RISK_SCORE, check_places, filled_in
from kinemask_gateway.following.starts import find_starts
from kinemask_gateway.following.state import TrackState
from kinemask_gateway.following.survey import Survey, duplicates, survey
from kinemask_gateway.jobs.body import JobBody, JobContext, JobOutcome, JobPhase
from kinemask_gateway.library.library import StoredVideo
from kinemask_gateway.settings import GatewaySettings
from kinemask_gateway.tracks import records
from kinemask_gateway.tracks.manifest import TracksManifest
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import TrackedFrame
from kinemask_gateway.tracks.writer import StoredTracks, TracksWriter

_FOLLOW_SHARE = 0.75
_BACKWARD_SHARE = 0.15
_TRIES = 8
_PAUSE_S = 0.25
_MOST_PAUSE_S = 8.0
_FRAMES_AT_A_TIME = 32

_log = structlog.get_logger(__name__)


class TrackBody(JobBody):
    """Track jobs, over the services behind the gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    async def run(self, context: JobContext) -> JobOutcome:
        """See JobBody."""
        began_s = time.monotonic()
        asked = pb.TrackJobSpec.FromString(context.spec)
        downstream = Downstream.from_settings(self._settings)
        try:
            async with context.library.open(asked.video_id) as stored:
                spec = filled_in(asked, stored.index.frame_count)
                check_places(spec)
                await context.set_spec(spec.SerializeToString())
                work = _Work(context, spec, stored, downstream, self._settings)
                return await work.run(began_s)
        finally:
            await downstream.close()


class _Work:
    """One attempt."""

    def __init__(
        self,
        context: JobContext,
        spec: pb.TrackJobSpec,
        stored: StoredVideo,
        downstream: Downstream,
        settings: GatewaySettings,
    ) -> None:
        self._context = context
        self._spec = spec
        self._stored = stored
        self._downstream = downstream
        self._settings = settings
        self._source = FrameSource(stored.reader(), settings.max_message_bytes, context.stopped)
        self._first = spec.range.first_frame_index
        self._frames = spec.range.last_frame_index - self._first + 1

    async def run(self, began_s: float) -> JobOutcome:
        await self._context.progress(JobPhase.PROBE, 0, self._frames, fraction=0.0)
        state = await self._load()
        if state.phase is JobPhase.FOLLOW:
            state = await self._repeatedly(self._follow)
        if state.phase is JobPhase.BACKWARD_FILL:
            state = await self._repeatedly(self._carry_back)
        stored, result = await self._finish(state)
        result.elapsed_s = time.monotonic() - began_s
        job_id = self._context.job_id
        return JobOutcome(
            result.SerializeToString(),
            on_commit=lambda connection: records.add(connection, job_id, stored),
        )

    async def _load(self) -> TrackState:
        saved = await self._context.load_checkpoint()
        if saved is None:
            return TrackState(next_frame=self._first)
        return TrackState.from_bytes(saved.payload)

    async def _repeatedly(self, work: Callable[[TrackState], Awaitable[None]]) -> TrackState:
        """Do a pass; from its last checkpoint again whenever a service behind is lost."""
        failed, before = 0, b""
        while True:
            state = await self._load()
            now = state.to_bytes()
            failed = failed + 1 if now == before else 1
            before = now
            try:
                await work(state)
            except StageLostError as error:
                _log.warning("stage_lost", job_id=self._context.job_id, why=str(error))
                if failed >= _TRIES:
                    raise errors.unavailable(str(error), reason="STAGE_DOWN") from error
                await asyncio.sleep(min(_PAUSE_S * 2**failed, _MOST_PAUSE_S))
            else:
                return state

    async def _follow(self, state: TrackState) -> None:
        forward = ForwardPass(
            self._context, self._spec, self._source, self._downstream, self._settings
        )
        await forward.run(state, self._telling(JobPhase.FOLLOW, self._frames, 0.0, _FOLLOW_SHARE))
        wanted = not self._spec.backward_fill.disabled
        state.phase = JobPhase.BACKWARD_FILL if wanted else JobPhase.LEAK_GUARD
        await self._context.save_checkpoint(state.to_bytes(), frames=self._frames)

    async def _carry_back(self, state: TrackState) -> None:
        forward = self._forward(state)
        most = self._spec.backward_fill.max_frames
        starts = await asyncio.to_thread(find_starts, forward, state.cuts, most)
        backward = BackwardPass(
            self._context,
            self._spec,
            self._source,
            self._downstream,
            self._settings,
            forward,
            starts,
        )
        total = max(backward.total_frames, 1)
        told = self._telling(JobPhase.BACKWARD_FILL, total, _FOLLOW_SHARE, _BACKWARD_SHARE)
        await backward.run(state, told)
        state.phase = JobPhase.LEAK_GUARD
        await self._context.save_checkpoint(state.to_bytes(), frames=self._frames)

    async def _finish(self, state: TrackState) -> tuple[StoredTracks, pb.TrackJobResult]:
        """Everything that needs no model: looking over, merging, covering, storing."""
        size = state.size
        seen = await asyncio.to_thread(
            survey, self._merged(state).frames(), size, self._spec.rules.merge_iou
        )
        same_as = duplicates(seen)
        covers, gaps = self._covers(seen, same_as, state)
        guarded = self._spec.HasField("leak_guard")
        tracks = MergedTracks(self._forward(state), self._filled(state), same_as, hints=guarded)
        final = FinalPass(tracks, self._guard(state, same_as), Sweep(covers), self._risk_score)
        stored = await self._write(final.frames(), size)
        damage = self._stored.video.facts.damage
        result = pb.TrackJobResult(
            objects=object_summaries(final.summaries),
            frame_count=self._frames,
            detected_frame_count=state.detected_frames,
            scene_cut_frame_indices=state.cuts,
            at_risk=frames_at_risk(state, final.summaries, covers, gaps, damage),
            stages=state.stages,
        )
        return stored, result

    async def _write(self, frames: Iterator[TrackedFrame], size: tuple[int, int]) -> StoredTracks:
        writer = TracksWriter(self._context.store, self._context.key, size)
        share = 1.0 - _FOLLOW_SHARE - _BACKWARD_SHARE
        told = self._telling(JobPhase.LEAK_GUARD, self._frames, 1.0 - share, share)
        done = 0
        while batch := await asyncio.to_thread(
            lambda: list(itertools.islice(frames, _FRAMES_AT_A_TIME))
        ):
            for frame in batch:
                await writer.add(frame)
            done += len(batch)
            await told(done)
        return await writer.finish()

    def _covers(
        self, seen: Survey, same_as: Mapping[int, int], state: TrackState
    ) -> tuple[list[Cover], list[OpenGap]]:
        """What the guard is to cover, and what has no mask all the same; without it, every gap."""
        spans = spans_of(seen, same_as)
        bounds = (self._first, self._spec.range.last_frame_index)
        if not self._spec.HasField("leak_guard"):
            return plan_covers(spans, state.cuts, bounds, 0, 0)
        guard = self._spec.leak_guard
        limits = guard.max_gap_frames, guard.margin_frames
        missed = under(state.sightings.missed, same_as)
        sure = {key: without(each, missed.get(key, ())) or each for key, each in spans.items()}
        without_mask, gaps = plan_covers(spans, state.cuts, bounds, *limits)
        not_found, _ = plan_covers(sure, state.cuts, bounds, *limits)
        covers = {*without_mask, *not_found}
        return sorted(covers, key=lambda c: (c.first, c.object_id, c.last)), gaps

    def _guard(self, state: TrackState, same_as: Mapping[int, int]) -> Guard | None:
        if not self._spec.HasField("leak_guard"):
            return None
        # Readers of its own: it looks ahead, and would else throw out what is read in order.
        ahead = MergedTracks(self._forward(state), self._filled(state), same_as, hints=True)
        told = self._spec.leak_guard
        return Guard(ahead.object, state.size, told.grow_px_per_frame, told.grow_share)

    @property
    def _risk_score(self) -> float:
        guard = self._spec.leak_guard
        return guard.risk_score if guard.HasField("risk_score") else RISK_SCORE

    def _forward(self, state: TrackState) -> TracksReader:
        manifest = TracksManifest(*state.size, state.forward)
        return TracksReader(self._context.store.blocking, manifest)

    def _filled(self, state: TrackState) -> SparseReader:
        return SparseReader(self._context.store.blocking, state.filled, state.size)

    def _merged(self, state: TrackState) -> MergedTracks:
        return MergedTracks(self._forward(state), self._filled(state))

    def _telling(self, phase: JobPhase, total: int, begin: float, share: float) -> Told:
        async def told(done: int) -> None:
            fraction = begin + share * min(done / total, 1.0)
            await self._context.progress(phase, min(done, total), total, fraction=fraction)

        return told
