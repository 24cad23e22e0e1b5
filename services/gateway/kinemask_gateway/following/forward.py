"""The first pass: the live pipeline over a stored video, with checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import grpc
from google.rpc import status_pb2
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, media_pb2
from kinemask.video import VideoFrame
from kinemask_chassis import errors
from kinemask_chassis.streams import StreamTerms

from kinemask_gateway.downstream import Downstream
from kinemask_gateway.following.driver import Followed, FrameDriver
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.following.hints import doubtful
from kinemask_gateway.following.spec import edits_of, rules_of, stream_config, stream_terms
from kinemask_gateway.following.state import TrackState, extend
from kinemask_gateway.jobs.body import JobContext
from kinemask_gateway.live.handler import LiveHandler
from kinemask_gateway.live.opening import Opened, open_pipeline
from kinemask_gateway.settings import GatewaySettings
from kinemask_gateway.tracks.messages import object_from_message
from kinemask_gateway.tracks.values import MaskOrigin, TrackedFrame, TrackedObject
from kinemask_gateway.tracks.writer import TracksWriter

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
Told = Callable[[int], Awaitable[None]]
"""Hears the frames that are done."""


class StageLostError(Exception):
    """A service behind is gone, and what it knew with it: go on from the last checkpoint."""


class ForwardPass:
    """Follows what words and prompts say from `state.next_frame` to the end of the range."""

    def __init__(
        self,
        context: JobContext,
        spec: pb.TrackJobSpec,
        source: FrameSource,
        downstream: Downstream,
        settings: GatewaySettings,
    ) -> None:
        self._context = context
        self._spec = spec
        self._source = source
        self._downstream = downstream
        self._settings = settings
        self._last = spec.range.last_frame_index

    async def run(self, state: TrackState, told: Told) -> None:
        """Go on from a state, and keep it up to date at every checkpoint.

        Raises:
            StageLostError: go on from the last checkpoint.
            ServiceError: a service refuses what is asked for.
        """
        terms = stream_terms(self._spec, state.pipeline)
        opened = await self._opened(terms)
        try:
            _check_all_there(opened.services)
            state.stages = opened.services
            await self._follow(opened.handler, state, told)
        finally:
            await opened.handler.close()

    async def _opened(self, terms: StreamTerms) -> Opened:
        config, rules = stream_config(self._spec), rules_of(self._spec)
        try:
            return await open_pipeline(config, terms, self._downstream, self._settings, rules)
        except errors.ServiceError as error:
            if error.code in _PASSING:
                raise StageLostError(error.message) from error
            raise

    async def _follow(self, handler: LiveHandler, state: TrackState, told: Told) -> None:
        every = self._spec.checkpoint_every_n_frames
        writer: TracksWriter | None = None
        edits = edits_of(self._spec)
        async with aclosing(self._source.ascending(state.next_frame, self._last)) as frames:
            while state.next_frame <= self._last:
                end = min(state.next_frame + every - 1, self._last)
                driver = FrameDriver(handler, edits)
                async with aclosing(driver.run(self._until(frames, end, state))) as results:
                    async for done in results:
                        writer = writer or self._writer(state)
                        await self._take(done, writer, state)
                        _check_not_lost(handler, done)
                        await told(done.frame_id - self._spec.range.first_frame_index + 1)
                writer = writer or self._writer(state)
                await self._add_missing(writer, end, state)
                await self._save(handler, writer, state, end)

    def _writer(self, state: TrackState) -> TracksWriter:
        key = self._context.key
        return TracksWriter(
            self._context.store, key, state.size, entries=state.forward, prefix="forward"
        )

    async def _until(
        self, frames: AsyncIterator[VideoFrame], end: int, state: TrackState
    ) -> AsyncIterator[media_pb2.Frame]:
        """The frames up to `end`; a damaged one is not there."""
        while (frame := await anext(frames, None)) is not None:
            height, width = frame.image.shape[:2]
            state.size = (height, width)
            yield self._source.message(frame, frame.index)
            if frame.index >= end:
                return

    async def _take(self, done: Followed, writer: TracksWriter, state: TrackState) -> None:
        await self._add_missing(writer, done.frame_id - 1, state)
        result, frame_id = done.result, done.frame_id
        failed = done.failure or _degraded(result)
        if failed is not None:
            extend(state.degraded, frame_id, frame_id, failed.message)
        state.detected_frames += done.detected
        cut = result is not None and result.scene_cut
        if cut:
            self._end_shot(state, frame_id - 1)
            state.cuts.append(frame_id)
        verdict = done.verdict
        hints: list[TrackedObject] = []
        if verdict is not None:
            hints = doubtful(self._objects(done), verdict.found, state.size)
            ids = {hint.object_id for hint in hints}
            again = {object_id for object_id, _ in verdict.prompts} - set(verdict.new_ids)
            state.sightings.add_round(frame_id, verdict.found, verdict.missed_ids, ids, again)
        if verdict is not None and verdict.left_out:
            extend(state.crowded, frame_id, frame_id, f"{verdict.left_out} left out")
        elif not done.detected and state.crowded and state.crowded[-1].last == frame_id - 1:
            state.crowded[-1].last = frame_id  # until a detector looks again
        await writer.add(self._tracked(done, hints, cut))

    def _end_shot(self, state: TrackState, last: int) -> None:
        first = state.cuts[-1] if state.cuts else self._spec.range.first_frame_index
        state.sightings.end_shot(first, last)

    def _objects(self, done: Followed) -> list[TrackedObject]:
        found = done.result.objects if done.result is not None else ()
        return [object_from_message(entry, MaskOrigin.FOLLOWED) for entry in found]

    def _tracked(self, done: Followed, hints: list[TrackedObject], cut: bool) -> TrackedFrame:
        time_us = self._source.time_us(done.frame_id)
        present = [entry for entry in self._objects(done) if entry.present]
        return TrackedFrame(done.frame_id, time_us, (*present, *hints), done.detected, cut)

    async def _add_missing(self, writer: TracksWriter, last: int, state: TrackState) -> None:
        """Frames that could not be decoded are there, without objects."""
        following = writer.next_frame_index
        first = self._spec.range.first_frame_index if following is None else following
        for frame_index in range(first, last + 1):
            extend(state.degraded, frame_index, frame_index, "the frame cannot be decoded")
            await writer.add(TrackedFrame(frame_index, self._source.time_us(frame_index)))

    async def _save(
        self, handler: LiveHandler, writer: TracksWriter, state: TrackState, end: int
    ) -> None:
        if self._context.stopped.is_set():
            raise errors.aborted("the job was stopped", reason="STOPPED")
        state.pipeline = await handler.snapshot()
        if handler.state_lost:
            raise StageLostError("a replica was lost while its state was taken")
        await writer.flush()
        if end == self._last:
            self._end_shot(state, end)
        state.forward, state.next_frame = writer.entries, end + 1
        done = end + 1 - self._spec.range.first_frame_index
        await self._context.save_checkpoint(state.to_bytes(), frames=done)


def _check_all_there(services: list[live_pb2.StageService]) -> None:
    for service in services:
        if service.HasField("degraded"):
            raise StageLostError(service.degraded.message)


def _check_not_lost(handler: LiveHandler, done: Followed) -> None:
    status = done.failure or _degraded(done.result)
    if status is not None and grpc_code(status) in _PASSING:
        raise StageLostError(status.message)
    if handler.state_lost:
        raise StageLostError("a replica was lost, and what it knew with it")


def _degraded(result: live_pb2.StreamResult | None) -> status_pb2.Status | None:
    if result is None:
        return None
    found = (r.degraded for r in result.stages if r.HasField("degraded"))
    return next(found, None)


def grpc_code(status: status_pb2.Status) -> grpc.StatusCode:
    """The code of a status."""
    return next(c for c in grpc.StatusCode if c.value[0] == status.code)
