"""Detection rounds: a frame's detections become tracks, prompts and removals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import structlog
from kinemask import wire
from kinemask.v1 import (
    detector_pb2,
    live_pb2,
    media_pb2,
    segmenter_pb2,
    streams_pb2,
    tracker_pb2,
)
from kinemask_chassis import errors

from kinemask_gateway.downstream.unanswered import EditRefused
from kinemask_gateway.live.association import Verdict, judge_round
from kinemask_gateway.live.detecting import Detecting
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.foresight import Foresight, heard
from kinemask_gateway.live.objects import FoundTrack, ObjectBook, Sighting
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.rhythm import Note
from kinemask_gateway.live.scenes import Thumbnail, is_cut, thumbnail
from kinemask_gateway.live.segmenting import Segmenting
from kinemask_gateway.live.stages import Prepared, Stages

_log = structlog.get_logger(__name__)

Masks = asyncio.Future[segmenter_pb2.SegmentVideoResult]


class DetectionRounds:
    """Runs the rounds of one stream.

    Invariants: the tracker sees rounds in frame order; at most one runs at a time under ASYNC.
    """

    def __init__(self, stages: Stages, book: ObjectBook) -> None:
        self._stages = stages
        self._book = book
        self._turn: asyncio.Task[Thumbnail | None] | None = None
        self._seen_before: Thumbnail | None = None
        self._round: asyncio.Task[None] | None = None
        self._landed: list[live_pb2.StageReport] = []
        self._foresight = Foresight()

    def expect(self, frame: media_pb2.Frame) -> None:
        """A frame that will begin later: under SYNC its detection may be made ahead of its turn."""
        detecting = self._stages.detecting
        if detecting is not None and detecting.sync:
            self._foresight.expect(frame)
            self._foresight.begin(detecting)

    def begin(self, frame: media_pb2.Frame, prepared: Prepared) -> Awaitable[object]:
        """Look for a cut and start the frame's detection if it is due. Call in frame order.

        What comes back is to be awaited before the frame's turn.
        """
        self._turn = asyncio.create_task(self._take_turn(frame, prepared, self._turn))
        return self._turn

    async def _take_turn(
        self,
        frame: media_pb2.Frame,
        prepared: Prepared,
        before: asyncio.Task[Thumbnail | None] | None,
    ) -> Thumbnail | None:
        """Each turn waits for the one before, so frames are judged in order; gives a thumbnail."""
        detecting = self._stages.detecting
        if detecting is None:
            return None
        seen = await asyncio.to_thread(thumbnail, frame.image)
        last = await before if before is not None else self._seen_before
        if last is not None and seen is not None:
            prepared.cut = is_cut(last, seen, detecting.cut_threshold)
        self._foresight.arrived(frame.frame_id)
        if detecting.rhythm.due(frame.frame_id, at_once=prepared.cut):
            self._start(detecting, frame, prepared)
        if detecting.sync:
            self._foresight.begin(detecting)
        return seen if seen is not None else last

    def _start(self, detecting: Detecting, frame: media_pb2.Frame, prepared: Prepared) -> None:
        if detecting.sync or self._stages.segmenting is None:
            early = self._foresight.take(frame.frame_id)
            prepared.detection = early or asyncio.create_task(detecting.detect(frame.image))
            prepared.detection.add_done_callback(heard)
        elif self._round is None or self._round.done():
            self._round = asyncio.create_task(self._run_async(frame))
        else:
            detecting.rhythm.postpone()
            slow = errors.aborted("the round before is still running", reason="DETECTOR_SLOW")
            prepared.reports.degrade(live_pb2.STAGE_DETECT, slow.to_status())

    async def begin_shot(self) -> None:
        """A new shot: objects that words found are of the old one. Those prompted by hand stay."""
        for known in [o for o in self._book.objects.values() if o.detected]:
            self._book.drop(known.object_id)
            if self._stages.segmenting is not None:
                try:
                    await self._stages.segmenting.remove(known.object_id)
                except StageDown as down:
                    _log.info("removed_while_down", object_id=known.object_id, why=str(down))

    def landed(self) -> list[live_pb2.StageReport]:
        """What rounds that ended since the last call have to report."""
        reports, self._landed = self._landed, []
        return reports

    async def last_thumbnail(self) -> Thumbnail | None:
        """The newest frame's, with which the next one is compared."""
        return await self._turn if self._turn is not None else self._seen_before

    def go_on_after(self, thumbnail: Thumbnail | None) -> None:
        """The stream goes on after a frame that looked like this."""
        self._seen_before = thumbnail

    async def run_sync(self, frame_id: int, prepared: Prepared, masks_before: Masks | None) -> None:
        """A round that its frame waits for, against the masks of the frame before."""
        detection, reports = prepared.detection, prepared.reports
        if detection is None:
            return
        stage: live_pb2.Stage.ValueType = live_pb2.STAGE_DETECT
        try:
            with reports.timed(stage) as report:
                found = await detection
                report.timing.CopyFrom(found.timing)
            stage = live_pb2.STAGE_TRACK
            if masks_before is not None:
                await asyncio.wait([masks_before])
            with reports.timed(stage):
                prepared.verdict = await self._associate(frame_id, found)
        except StageDown as down:
            reports.degrade(stage, down.error.to_status())

    async def track_boxes(
        self, frame: media_pb2.Frame, prepared: Prepared
    ) -> Sequence[tracker_pb2.Track]:
        """Without masks: a detected frame waits for its boxes; the tracker coasts in between."""
        message = tracker_pb2.TrackFrame(frame_id=frame.frame_id, not_detected=True)
        reports = prepared.reports
        stage: live_pb2.Stage.ValueType = live_pb2.STAGE_DETECT
        try:
            if prepared.detection is not None:
                with reports.timed(stage) as report:
                    found = await prepared.detection
                    report.timing.CopyFrom(found.timing)
                message.not_detected = False
                message.detections.extend(found.detections)
            if self._stages.tracking is None:
                return []
            stage = live_pb2.STAGE_TRACK
            with reports.timed(stage):
                return (await self._stages.tracking.track(message)).tracks
        except StageDown as down:
            reports.degrade(stage, down.error.to_status())
            return []

    async def settle(self) -> None:
        """Wait for the round under way, so that a move does not lose it."""
        if self._round is not None and not self._round.done():
            await asyncio.wait([self._round])

    def close(self) -> None:
        """Give up what is under way."""
        self._foresight.close()
        for task in (self._turn, self._round):
            if task is not None:
                task.cancel()

    async def _run_async(self, frame: media_pb2.Frame) -> None:
        """A round that lands late; what it did is told with the next frame."""
        detecting, reports = self._stages.detecting, FrameReports(frame.frame_id)
        if detecting is None:
            return
        stage: live_pb2.Stage.ValueType = live_pb2.STAGE_DETECT
        try:
            with reports.timed(stage) as report:
                found = await detecting.detect(frame.image)
                report.timing.CopyFrom(found.timing)
            stage = live_pb2.STAGE_TRACK
            with reports.timed(stage):
                await self._associate(frame.frame_id, found)
        except StageDown as down:
            reports.degrade(stage, down.error.to_status())
        except Exception as error:  # noqa: BLE001 - a failed round must not take the stream along
            reports.degrade(stage, errors.status_from_exception(error))
        self._landed += reports.messages()

    async def _associate(
        self, frame_id: int, found: detector_pb2.ImageDetections
    ) -> Verdict | None:
        """Carry out what a round says."""
        tracking, segmenting = self._stages.tracking, self._stages.segmenting
        if tracking is None or segmenting is None:
            return None
        sightings = self._known_at(frame_id)
        result = await tracking.track(self._message(frame_id, found, sightings))
        if tracking.lost_identities():
            self._forget_tracks()
        tracks = [_found(t, found) for t in result.tracks if t.HasField("detection_index")]
        stages = self._stages
        verdict = judge_round(
            self._book,
            tracks,
            result.ended_track_ids,
            sightings,
            stages.max_objects,
            stages.rules,
        )
        if stages.detecting is not None:
            what = Note.EVENTFUL_ROUND if verdict.eventful else Note.CALM_ROUND
            stages.detecting.rhythm.note(frame_id, what)
        if verdict.left_out:
            _log.info("objects_left_out", count=verdict.left_out, cap=self._stages.max_objects)
        await self._tell(segmenting, frame_id, verdict)
        return verdict

    def _known_at(self, frame_id: int) -> list[Sighting]:
        return [s for s in self._book.sightings_at(frame_id) if s.object_id in self._book.objects]

    def _forget_tracks(self) -> None:
        for known in self._book.objects.values():
            known.track_id = None

    def _message(
        self, frame_id: int, found: detector_pb2.ImageDetections, sightings: Sequence[Sighting]
    ) -> tracker_pb2.TrackFrame:
        message = tracker_pb2.TrackFrame(frame_id=frame_id, detections=found.detections)
        for sighting in sightings:
            known = self._book.objects[sighting.object_id]
            if known.track_id is not None and sighting.box_xyxy is not None:
                box = wire.box_to_message(sighting.box_xyxy)
                message.observations.add(track_id=known.track_id, box=box, score=sighting.score)
        return message

    async def _tell(self, segmenting: Segmenting, frame_id: int, verdict: Verdict) -> None:
        for object_id, box in verdict.prompts:
            prompt = segmenter_pb2.ObjectPrompt(object_id=object_id, box=wire.box_to_message(box))
            answer = await segmenting.prompt(frame_id, prompt)
            drop_if_refused(self._book, object_id, answer)
        for object_id in verdict.drop_ids:
            await segmenting.remove(object_id)


def drop_if_refused(
    book: ObjectBook, object_id: int, answer: asyncio.Future[streams_pb2.EditResult]
) -> None:
    """An object that the segmenter would not take, and never had, is no object."""

    def heard(done: asyncio.Future[streams_pb2.EditResult]) -> None:
        if done.cancelled() or not isinstance(done.exception(), EditRefused):
            return
        _log.warning("prompt_refused", object_id=object_id, why=str(done.exception()))
        known = book.objects.get(object_id)
        if known is not None and known.box_xyxy is None:
            book.drop(object_id)

    answer.add_done_callback(heard)


def _found(track: tracker_pb2.Track, found: detector_pb2.ImageDetections) -> FoundTrack:
    """With the box as it was detected: the track's own leans on the mask that is to be judged."""
    box = wire.box_from_message(found.detections[track.detection_index].box)
    return FoundTrack(track.track_id, box, track.score, track.label, track.prompt)
