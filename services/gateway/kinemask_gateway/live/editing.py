"""What a client changes while its stream runs."""

from __future__ import annotations

import structlog
from kinemask.v1 import live_pb2, segmenter_pb2
from kinemask_chassis import errors, media

from kinemask_gateway.downstream.unanswered import EditRefused
from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.objects import ObjectBook
from kinemask_gateway.live.rendering import Rendering
from kinemask_gateway.live.rounds import drop_if_refused
from kinemask_gateway.live.segmenting import Segmenting
from kinemask_gateway.live.stages import Stages

_log = structlog.get_logger(__name__)


class Editing:
    """Applies the edits of one stream to its stages and its objects."""

    def __init__(self, stages: Stages, book: ObjectBook) -> None:
        self._stages = stages
        self._book = book

    async def apply(
        self, edit: live_pb2.StreamEdit, frame_id: int, size: tuple[int, int] | None, late: bool
    ) -> int:
        """Apply an edit about a frame of `size` (height, width); returns the object's id or 0.

        Raises:
            ServiceError: it cannot be applied; nothing has changed.
        """
        action = edit.WhichOneof("action")
        if action == "prompt":
            return await self._prompt(edit, frame_id, size, late)
        if action == "remove":
            return await self._remove(edit.remove.object_id)
        if action == "detect":
            return await self._look_for(edit.detect)
        if action == "effect":
            return self._draw(edit.effect)
        if action == "caption":
            return await self._describe(edit.caption)
        if action == "is_person":
            return await self._correct(edit.is_person, is_person=True)
        if action == "not_person":
            return await self._correct(edit.not_person, is_person=False)
        raise errors.unimplemented(f"{action}: this gateway has no such stage yet")

    async def _prompt(
        self, edit: live_pb2.StreamEdit, frame_id: int, size: tuple[int, int] | None, late: bool
    ) -> int:
        segmenting = self._stages.segmenting
        if segmenting is None:
            raise errors.failed_precondition(
                "the stream has no segment stage; prompts need one", reason="NO_SEGMENT_STAGE"
            )
        _check_prompt(edit.prompt, size)
        is_new = edit.prompt.object_id not in self._book.objects
        known = self._book.add_prompted(edit.prompt.object_id, edit.label)
        prompt = segmenter_pb2.ObjectPrompt()
        prompt.CopyFrom(edit.prompt)
        prompt.object_id = known.object_id
        try:
            await self._send(segmenting, frame_id, prompt, late)
        except errors.ServiceError:
            if is_new:
                self._book.drop(known.object_id)
            raise
        return known.object_id

    async def _send(
        self, segmenting: Segmenting, frame_id: int, prompt: segmenter_pb2.ObjectPrompt, late: bool
    ) -> None:
        try:
            answer = await segmenting.prompt(frame_id, prompt)
            if late:
                # A past frame is answered at once; one to come would make this wait for itself.
                await answer
            else:
                drop_if_refused(self._book, prompt.object_id, answer)
        except EditRefused as refused:
            raise errors.from_status(refused.status) from refused
        except StageDown as down:
            raise down.error from down

    async def _remove(self, object_id: int) -> int:
        if self._book.drop(object_id) is None:
            raise errors.not_found(f"there is no object {object_id}", reason="UNKNOWN_OBJECT")
        if self._stages.segmenting is not None:
            try:
                await self._stages.segmenting.remove(object_id)
            except StageDown:
                _log.info("removed_while_down", object_id=object_id)
        return object_id

    async def _look_for(self, config: live_pb2.DetectStage) -> int:
        detecting = self._stages.detecting
        if detecting is None:
            raise errors.failed_precondition(
                "the stream has no detect stage to change", reason="NO_DETECT_STAGE"
            )
        await detecting.check(config)
        detecting.config = config
        return 0

    async def _correct(self, said: live_pb2.ObjectPerson, is_person: bool) -> int:
        if self._stages.naming is None:
            raise errors.failed_precondition(
                "the stream has no faces stage to correct", reason="NO_FACES_STAGE"
            )
        return await self._stages.naming.correct(said.object_id, said.person_id, is_person)

    async def _describe(self, config: live_pb2.CaptionStage) -> int:
        captioning = self._stages.captioning
        if captioning is None:
            raise errors.failed_precondition(
                "the stream has no caption stage to change", reason="NO_CAPTION_STAGE"
            )
        await captioning.change(config)
        return 0

    def _draw(self, config: live_pb2.EffectStage) -> int:
        if self._stages.rendering is None:
            raise errors.failed_precondition(
                "the stream has no effect stage to change", reason="NO_EFFECT_STAGE"
            )
        self._stages.rendering = Rendering(config, self._stages.rendering.send_masks)
        return 0


def _check_prompt(prompt: segmenter_pb2.ObjectPrompt, size: tuple[int, int] | None) -> None:
    if not prompt.points and not prompt.HasField("box") and not prompt.HasField("mask"):
        raise errors.invalid("prompt", "expected a point, a box or a mask, found none")
    if size is None:
        return
    for index, point in enumerate(prompt.points):
        media.check_point(point, *size, field=f"prompt.points[{index}]")
    if prompt.HasField("box"):
        media.check_box(prompt.box, *size, field="prompt.box")
