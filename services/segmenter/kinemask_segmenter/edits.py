"""What a client says in a stream beside its frames: prompts, removals, propagations."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors
from kinemask_chassis.streams import Walk

from kinemask_segmenter.engines.base import EngineInfo, FrameGoneError, Prompt
from kinemask_segmenter.engines.walking import Forgetting, Walking
from kinemask_segmenter.messages import prompt_from_message
from kinemask_segmenter.opened import Opened, frame_gone
from kinemask_segmenter.propagation import Propagation
from kinemask_segmenter.threads import OffLoop

Edit = segmenter_pb2.SegmentVideoEdit


class StreamEdits:
    """Invariant: what is staged are prompts for the frame that is about to be stepped, and nothing
    between frames."""

    def __init__(
        self,
        engine: EngineInfo,
        off_loop: OffLoop,
        max_objects: int,
        encoding: media_pb2.MaskEncoding.ValueType,
    ) -> None:
        self._engine = engine
        self._off_loop = off_loop
        self._max_objects = max_objects
        self._encoding = encoding
        self._staged: list[Prompt] = []

    def take_staged(self) -> list[Prompt]:
        """Prompts for the frame that is stepped now."""
        staged, self._staged = self._staged, []
        return staged

    async def apply(
        self, opened: Opened, edit: Edit, frame_id: int, *, on_time: bool
    ) -> int | Walk:
        """Carry an edit out; the object it was about, or the walk it began.

        Raises:
            ServiceError: as `SegmentHandler.apply` says.
        """
        action = edit.WhichOneof("action")
        self._check_action(action)
        if action == "prompt":
            return await self._prompt(opened, edit.prompt, frame_id, on_time)
        if action == "clear_frame":
            return await self._clear_frame(opened, edit.clear_frame.object_id, frame_id, on_time)
        if action == "propagate":
            return self._propagate(opened, edit, frame_id, on_time)
        removal = edit.remove if action == "remove" else edit.clear
        return self._forget(opened, removal.object_id)

    def _check_action(self, action: str | None) -> None:
        if action not in self._engine.edits:
            raise errors.unimplemented(
                f"the {self._engine.name} engine cannot {action}; "
                f"it can {', '.join(self._engine.edits)}",
                reason="ACTION_UNSUPPORTED",
            )

    async def _prompt(
        self, opened: Opened, message: segmenter_pb2.ObjectPrompt, frame_id: int, on_time: bool
    ) -> int:
        self._check_object(message.object_id, opened)
        prompt = await self._off_loop.run(prompt_from_message, message, *opened.size)
        if on_time:
            self._staged.append(prompt)
        else:
            await self._prompt_late(opened, frame_id, prompt)
        return prompt.object_id

    async def _prompt_late(self, opened: Opened, frame_id: int, prompt: Prompt) -> None:
        try:
            await self._off_loop.to_the_end(opened.stream.prompt_late(frame_id, [prompt]))
        except FrameGoneError as error:
            raise frame_gone(error, opened.window) from error

    def _check_object(self, object_id: int, opened: Opened) -> None:
        if object_id < 1:
            raise errors.invalid(
                "prompt.object_id",
                "expected at least 1, found 0: only a live stream of the gateway picks ids",
            )
        known = self._known(opened)
        if object_id not in known and len(known) >= self._max_objects:
            raise errors.exhausted(
                f"{self._max_objects} objects are followed; expected no more than that",
                reason="TOO_MANY_OBJECTS",
            )

    def _forget(self, opened: Opened, object_id: int) -> int:
        self._check_known(opened, [object_id])
        self._staged = [prompt for prompt in self._staged if prompt.object_id != object_id]
        opened.stream.remove(object_id)
        return object_id

    async def _clear_frame(
        self, opened: Opened, object_id: int, frame_id: int, on_time: bool
    ) -> int:
        self._check_known(opened, [object_id])
        if on_time:
            kept = [prompt for prompt in self._staged if prompt.object_id != object_id]
            cleared, self._staged = len(kept) < len(self._staged), kept
        else:
            cleared = await self._clear_late(opened, object_id, frame_id)
        if not cleared:
            raise errors.not_found(
                f"nothing was prompted for object {object_id} on frame {frame_id}",
                reason="NO_PROMPT",
            )
        return object_id

    async def _clear_late(self, opened: Opened, object_id: int, frame_id: int) -> bool:
        assert isinstance(opened.stream, Forgetting), "the engine names what its streams can do"
        try:
            return await self._off_loop.to_the_end(opened.stream.clear_frame(frame_id, object_id))
        except FrameGoneError as error:
            raise frame_gone(error, opened.window) from error

    def _propagate(self, opened: Opened, edit: Edit, frame_id: int, on_time: bool) -> Walk:
        asked = edit.propagate
        if not self._known(opened):
            raise errors.failed_precondition(
                "expected an object to propagate, nothing was prompted", reason="NO_OBJECTS"
            )
        self._check_known(opened, asked.object_ids)
        assert isinstance(opened.stream, Walking), "the engine names what its streams can do"
        if not on_time:
            try:
                opened.stream.walk(frame_id, asked.to_frame_id, asked.object_ids)
            except FrameGoneError as error:
                raise frame_gone(error, opened.window) from error
        return Propagation(opened, edit, frame_id, self._off_loop, self._encoding)

    def _check_known(self, opened: Opened, object_ids: Sequence[int]) -> None:
        unknown = sorted(set(object_ids) - self._known(opened))
        if unknown:
            raise errors.not_found(f"no object {unknown[0]} is followed", reason="UNKNOWN_OBJECT")

    def _known(self, opened: Opened) -> set[int]:
        return {*opened.stream.object_ids(), *(prompt.object_id for prompt in self._staged)}
