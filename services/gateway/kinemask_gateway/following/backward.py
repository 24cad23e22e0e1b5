"""The second pass: objects carried back to where they entered, over frames fed in reverse.

One walk begins where an object was first seen and goes back frame by frame; objects that were
first seen earlier join when their frame comes. An object is let go where its scene begins, after
`max_frames`, when its mask has been empty for a while, or when it lies on something that was
followed there already: the same thing under another id, or what hid it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors

from kinemask_gateway.downstream import Downstream
from kinemask_gateway.downstream.unanswered import FrameFailed
from kinemask_gateway.following.forward import StageLostError, Told
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.following.hints import without_hints
from kinemask_gateway.following.overlaps import lies_on
from kinemask_gateway.following.starts import Start
from kinemask_gateway.following.state import TrackState
from kinemask_gateway.jobs.body import JobContext
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.opening import segment_config
from kinemask_gateway.live.segmenting import Segmenting
from kinemask_gateway.settings import GatewaySettings
from kinemask_gateway.tracks.reader import TracksReader
from kinemask_gateway.tracks.values import MaskOrigin, ObjectState, TrackedFrame, TrackedObject
from kinemask_gateway.tracks.writer import FRAMES_PER_CHUNK, store_chunk

# An object is let go after so many points: one for a frame without a mask, more for a frame where
# it lies on something else.
_PATIENCE = 6
_ON_SOMETHING_POINTS = 2
Masks = asyncio.Future[segmenter_pb2.SegmentVideoResult]


class BackwardPass:
    """Walks back from the starts, latest first; where it is stands in `state.backward`."""

    def __init__(
        self,
        context: JobContext,
        spec: pb.TrackJobSpec,
        source: FrameSource,
        downstream: Downstream,
        settings: GatewaySettings,
        forward: TracksReader,
        starts: Sequence[Start],
    ) -> None:
        self._context = context
        self._spec = spec
        self._source = source
        self._downstream = downstream
        self._settings = settings
        self._forward = forward
        self._starts = starts
        self._by_id = {start.object_id: start for start in starts}
        self._held: list[TrackedFrame] = []

    @property
    def total_frames(self) -> int:
        """Frames to go back over at most."""
        return sum(len(span) for span in _spans(self._starts))

    async def run(self, state: TrackState, told: Told) -> None:
        """Go on from a state.

        Raises:
            StageLostError: go on from the last checkpoint.
        """
        self._held.clear()
        back = state.backward
        while back.next_frame is not None or back.next_start < len(self._starts):
            self._check_wanted()
            if back.next_frame is None:
                back.next_frame = self._starts[back.next_start].frame_index
            await self._walk(state, told)
            back.next_frame, back.token = None, b""
            back.active.clear()
        await self._save(state)

    async def _walk(self, state: TrackState, told: Told) -> None:
        """Back until nothing is left to be carried."""
        config = stream_config_of(self._spec)
        segmenting = Segmenting(
            self._downstream.pools["segmenter"], config, self._settings.open_timeout_s, _heard
        )
        try:
            await self._open(segmenting, state)
            await self._steps(segmenting, state, told)
        except (StageDown, LookupError, TimeoutError) as error:
            raise StageLostError(str(error)) from error
        finally:
            await segmenting.close()

    async def _open(self, segmenting: Segmenting, state: TrackState) -> None:
        await self._downstream.pools["segmenter"].settle()
        try:
            await segmenting.open(state.backward.token)
        except Exception as error:
            raise StageLostError(f"the segmenter cannot be opened: {error}") from error

    async def _steps(self, segmenting: Segmenting, state: TrackState, told: Told) -> None:
        back, last = state.backward, self._spec.range.last_frame_index
        assert back.next_frame is not None
        lowest = self._spec.range.first_frame_index
        done = 0
        async with aclosing(self._source.descending(back.next_frame, lowest)) as frames:
            async for frame in frames:
                back.next_frame = frame.index
                await self._join(segmenting, state, frame.index)
                if not back.active:
                    return
                # Ids must ascend, and frames come in descending order.
                message = self._source.message(frame, last - frame.index)
                masks = await self._masks(await segmenting.submit(message), segmenting)
                kept = await asyncio.to_thread(self._judge, masks, state, frame.index)
                await self._keep(kept, state)
                await self._let_go(segmenting, state, frame.index)
                back.next_frame = frame.index - 1
                back.done_frames, done = back.done_frames + 1, done + 1
                await told(back.done_frames)
                if done % self._spec.checkpoint_every_n_frames == 0 and back.active:
                    await self._checkpoint(segmenting, state)

    async def _masks(
        self, answer: Masks, segmenting: Segmenting
    ) -> segmenter_pb2.SegmentVideoResult | None:
        try:
            masks = await answer
        except FrameFailed:
            return None
        if segmenting.recoveries:
            raise StageLostError("a segmenter was lost, and what it knew with it")
        return masks

    async def _join(self, segmenting: Segmenting, state: TrackState, frame_index: int) -> None:
        """Begin with the objects that were first seen here."""
        back = state.backward
        while back.next_start < len(self._starts):
            start = self._starts[back.next_start]
            if start.frame_index < frame_index:
                return
            height, width = state.size
            mask = media_pb2.Mask(width=width, height=height, rle=start.rle)
            prompt = segmenter_pb2.ObjectPrompt(object_id=start.object_id, mask=mask)
            last = self._spec.range.last_frame_index
            await segmenting.prompt(last - frame_index, prompt)
            back.active[start.object_id] = 0
            back.next_start += 1

    def _judge(
        self,
        masks: segmenter_pb2.SegmentVideoResult | None,
        state: TrackState,
        frame_index: int,
    ) -> TrackedFrame:
        """The masks worth keeping; counts the points against each object."""
        others = self._forward.frame(frame_index)
        kept: list[TrackedObject] = []
        active = state.backward.active
        for entry in masks.objects if masks is not None else ():
            start = self._by_id.get(entry.object_id)
            if start is None or entry.object_id not in active:
                continue
            found = _filled(entry, start)
            if frame_index == start.frame_index:
                continue  # there it has a mask already
            if not found.present:
                active[entry.object_id] += 1
            elif lies_on(
                found, without_hints(others.objects), state.size, self._spec.rules.merge_iou
            ):
                active[entry.object_id] += _ON_SOMETHING_POINTS
                # Whether they are one is judged by all frames they share.
                kept.append(replace(found, state=ObjectState.LOST))
            else:
                active[entry.object_id] = 0
                kept.append(found)
        return TrackedFrame(frame_index, others.time_us, tuple(kept))

    async def _let_go(self, segmenting: Segmenting, state: TrackState, frame_index: int) -> None:
        active = state.backward.active
        for object_id, points in list(active.items()):
            if points >= _PATIENCE or self._by_id[object_id].until >= frame_index:
                del active[object_id]
                await segmenting.remove(object_id)

    async def _keep(self, frame: TrackedFrame, state: TrackState) -> None:
        self._held.append(frame)
        if len(self._held) >= FRAMES_PER_CHUNK:
            await self._flush(state)

    async def _flush(self, state: TrackState) -> None:
        """Store what is held; frames of one walk follow each other, downwards."""
        while self._held:
            count = 1
            while (
                count < len(self._held)
                and self._held[count].frame_index == self._held[count - 1].frame_index - 1
            ):
                count += 1
            run, self._held = self._held[:count][::-1], self._held[count:]
            key = self._context.key(f"filled/{run[0].frame_index:09d}")
            state.filled += (await store_chunk(self._context.store, key, run),)

    async def _checkpoint(self, segmenting: Segmenting, state: TrackState) -> None:
        token = await segmenting.snapshot()
        if segmenting.recoveries or not token:
            raise StageLostError("a segmenter was lost while its state was taken")
        state.backward.token = token
        await self._save(state)

    def _check_wanted(self) -> None:
        if self._context.stopped.is_set():
            raise errors.aborted("the job was stopped", reason="STOPPED")

    async def _save(self, state: TrackState) -> None:
        self._check_wanted()
        await self._flush(state)
        done = self._forward.manifest.frame_count
        await self._context.save_checkpoint(state.to_bytes(), frames=done)


def stream_config_of(spec: pb.TrackJobSpec) -> segmenter_pb2.SegmentVideoConfig:
    """The segmenter's stream: the same as forwards."""
    return segment_config(spec.segment, with_masks=True)


def _filled(entry: segmenter_pb2.ObjectMask, start: Start) -> TrackedObject:
    box = entry.box
    edges = (box.x_min, box.y_min, box.x_max, box.y_max)
    there = entry.HasField("box")
    return TrackedObject(
        start.object_id,
        start.label,
        start.prompt,
        entry.score,
        ObjectState.CONFIRMED,
        MaskOrigin.BACKWARD_FILL,
        edges if there else None,
        entry.mask.rle if there else b"",
        entry.area_px,
    )


def _spans(starts: Sequence[Start]) -> list[range]:
    """The frames that walks go over, overlapping ones joined."""
    spans: list[range] = []
    for start in starts:
        if spans and start.frame_index >= spans[-1].start:
            spans[-1] = range(min(spans[-1].start, start.until), spans[-1].stop)
        else:
            spans.append(range(start.until, start.frame_index + 1))
    return spans


def _heard(result: segmenter_pb2.SegmentVideoResult) -> None:
    """Nobody else needs to know."""
