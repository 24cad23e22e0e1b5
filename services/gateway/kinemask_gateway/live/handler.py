"""One live stream's pipeline: what happens to each frame, in which order, and who waits for whom.

A frame is sent to the segmenter as soon as it is its turn and answered when its masks are back.
Detections run beside that. Under SYNC a detected frame waits for them, so that nothing appears
late; under ASYNC they land on the frame where they were seen, and the segmenter carries the new
objects forward to now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from kinemask import images, wire
from kinemask.v1 import live_pb2, media_pb2, segmenter_pb2
from kinemask_chassis import errors, media

from kinemask_gateway.downstream.unanswered import FrameFailed
from kinemask_gateway.live.editing import Editing
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.objects import ObjectBook, Sighting
from kinemask_gateway.live.reporting import FrameReports
from kinemask_gateway.live.results import build_result
from kinemask_gateway.live.rounds import DetectionRounds, Masks
from kinemask_gateway.live.stages import InFlight, Prepared, Stages
from kinemask_gateway.live.state import LiveState


class LiveHandler:
    """The pipeline of one stream, under the chassis' stream runner.

    Invariant: frames reach the segmenter in frame order, and one at a time.
    """

    def __init__(
        self,
        stages: Stages,
        book: ObjectBook,
        state: LiveState,
        depth: int,
        max_pixels: int,
    ) -> None:
        """`state`: where a resumed stream goes on; its book is `book`."""
        self._stages = stages
        self._book = book
        self._size = state.size
        self._depth = depth
        self._max_pixels = max_pixels
        self._rounds = DetectionRounds(stages, book)
        self._editing = Editing(stages, book)
        self._rounds.go_on_after(state.thumbnail)
        self._newest_masks: Masks | None = None

    @property
    def depth(self) -> int:
        """Frames that may be in work at once."""
        return self._depth

    @property
    def state_lost(self) -> bool:
        """True once a replica behind died and its state was made anew, roughly."""
        segmenting, tracking = self._stages.segmenting, self._stages.tracking
        recovered = segmenting is not None and segmenting.recoveries > 0
        return recovered or (tracking is not None and tracking.losses > 0)

    def expect(self, frame: media_pb2.Frame) -> None:
        """A frame that is to be prepared later, after those told before: for whoever knows."""
        self._rounds.expect(frame)

    async def prepare(self, frame: media_pb2.Frame) -> Prepared:
        """Check the picture's size, begin its detection, decode it if something is to be drawn."""
        height, width = self._checked_size(frame.image)
        prepared = Prepared(height, width, FrameReports())
        turn = self._rounds.begin(frame, prepared)
        if self._stages.rendering is not None:
            prepared.rgb = await asyncio.to_thread(
                media.decode_image, frame.image, self._max_pixels, "frame.image"
            )
        await turn
        return prepared

    async def step(self, frame: media_pb2.Frame, prepared: Prepared) -> InFlight:
        """Hand the frame to the segmenter, its detections first under SYNC."""
        self._size = self._size or (prepared.height, prepared.width)
        if self._stages.captioning is not None:
            prepared.caption = self._stages.captioning.offer(frame, prepared.reports)
        segmenting = self._stages.segmenting
        if segmenting is None:
            return InFlight(prepared, None, {}, await self._rounds.track_boxes(frame, prepared))
        if prepared.cut:
            await self._rounds.begin_shot()
        if prepared.detection is not None:
            await self._rounds.run_sync(frame.frame_id, prepared, self._newest_masks)
        prepared.reports.take(self._rounds.landed())
        self._newest_masks = await segmenting.submit(frame)
        # Copies: later rounds change them while this frame's masks are on their way.
        known = {key: replace(entry) for key, entry in self._book.objects.items()}
        return InFlight(prepared, self._newest_masks, known)

    async def finish(self, frame: media_pb2.Frame, raw: InFlight) -> live_pb2.StreamResult:
        """Wait for the masks and put the answer together."""
        reports = raw.prepared.reports
        size = (raw.prepared.height, raw.prepared.width)
        segmented = await self._masks_of(raw.masks, reports) if raw.masks is not None else None
        known = {**self._book.objects, **raw.known}
        result = build_result(frame, size, known, segmented, raw.tracks)
        result.scene_cut = raw.prepared.cut
        if (caption := raw.prepared.caption) is not None:
            result.caption, result.caption_frame_id = caption.text, caption.frame_id
        if self._stages.naming is not None:
            await self._stages.naming.name(frame, result, reports)
        if raw.prepared.rgb is not None:
            await self._render(raw.prepared.rgb, result, reports)
        result.stages.extend(reports.messages())
        result.timing.CopyFrom(reports.summed())
        return result

    async def apply(
        self, edit: live_pb2.StreamEdit, frame_id: int, prepared: Prepared | None
    ) -> int:
        """Apply an edit; prompts about a past frame land there and are carried forward."""
        size = (prepared.height, prepared.width) if prepared is not None else self._size
        return await self._editing.apply(edit, frame_id, size, late=prepared is None)

    async def snapshot(self) -> bytes:
        """The pipeline's state and those of the services behind, after the last step."""
        await self._rounds.settle()
        segmenting, tracking = self._stages.segmenting, self._stages.tracking
        segment = await segmenting.snapshot() if segmenting is not None else b""
        track = await tracking.snapshot() if tracking is not None else b""
        masks = segmenting.masks() if segmenting is not None and not segment else {}
        detecting, captioning = self._stages.detecting, self._stages.captioning
        naming = self._stages.naming
        return LiveState(
            self._book,
            segment,
            track,
            masks,
            self._size,
            detecting.rhythm if detecting is not None else None,
            await self._rounds.last_thumbnail(),
            captioning.newest if captioning is not None else None,
            await naming.snapshot() if naming is not None else b"",
            naming.names if naming is not None else {},
        ).to_bytes()

    async def close(self) -> None:
        """End the streams behind this one. Called once."""
        self._rounds.close()
        if self._stages.captioning is not None:
            self._stages.captioning.close()
        if self._stages.naming is not None:
            await self._stages.naming.close()
        if self._stages.segmenting is not None:
            await self._stages.segmenting.close()
        if self._stages.tracking is not None:
            await self._stages.tracking.close()

    async def _masks_of(
        self, masks: Masks, reports: FrameReports
    ) -> segmenter_pb2.SegmentVideoResult | None:
        try:
            with reports.timed(live_pb2.STAGE_SEGMENT) as report:
                segmented = await masks
                report.timing.CopyFrom(segmented.timing)
        except FrameFailed as failed:
            raise errors.from_status(failed.status) from failed
        except StageDown as down:
            reports.degrade(live_pb2.STAGE_SEGMENT, down.error.to_status())
            return None
        return segmented

    async def _render(
        self, rgb: wire.RgbImage, result: live_pb2.StreamResult, reports: FrameReports
    ) -> None:
        rendering = self._stages.rendering
        if rendering is None:
            return
        with reports.timed(live_pb2.STAGE_EFFECT):
            result.rendered = await asyncio.to_thread(rendering.render, rgb, list(result.objects))
        if not rendering.send_masks:
            for entry in result.objects:
                entry.ClearField("mask")

    def _checked_size(self, image: media_pb2.Image) -> tuple[int, int]:
        try:
            height, width = wire.image_size(image)
        except images.ImageError as error:
            reason = "IMAGE_UNDECODABLE"
            raise errors.invalid("frame.image", str(error), reason=reason) from error
        if height * width > self._max_pixels:
            limit = f"expected at most {self._max_pixels} pixels, found {width}x{height}"
            raise errors.invalid("frame.image", limit, reason="IMAGE_TOO_LARGE")
        if self._size is not None and self._size != (height, width):
            first = f"{self._size[1]}x{self._size[0]}"
            unlike = f"expected {first} like the first frame, found {width}x{height}"
            raise errors.invalid("frame.image", unlike, reason="FRAME_SIZE")
        return height, width


def sightings_of(result: segmenter_pb2.SegmentVideoResult) -> Sequence[Sighting]:
    """A segmenter's result, as far as identities need it."""
    return [
        Sighting(
            entry.object_id,
            wire.box_from_message(entry.box) if entry.HasField("box") else None,
            entry.score,
        )
        for entry in result.objects
    ]
