"""Prompts that are taken back, and the masks without them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import saying
from kinemask_gateway.annotations.asking import Asking, Place, taking_back
from kinemask_gateway.annotations.editing import Draft, Editor
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.prompt_records import Base, PromptRecord
from kinemask_gateway.library.library import Library


class Retracting:
    """Takes prompts of sessions back."""

    def __init__(self, library: Library, editor: Editor, masks: MaskStore, asking: Asking) -> None:
        self._library = library
        self._editor = editor
        self._masks = masks
        self._asking = asking

    async def clear(self, request: pb.ClearPromptsRequest) -> pb.ClearPromptsResponse:
        """ClearPrompts; errors as annotations.proto says."""

        async def work(draft: Draft) -> Callable[[int], pb.ClearPromptsResponse]:
            return await self._cleared(draft, request)

        return await self._editor.apply(request, pb.ClearPromptsResponse, work)

    async def remove(self, request: pb.RemovePromptsRequest) -> pb.RemovePromptsResponse:
        """RemovePrompts; errors as annotations.proto says."""

        async def work(draft: Draft) -> Callable[[int], pb.RemovePromptsResponse]:
            return await self._removed(draft, request)

        return await self._editor.apply(request, pb.RemovePromptsResponse, work)

    async def _cleared(
        self, draft: Draft, request: pb.ClearPromptsRequest
    ) -> Callable[[int], pb.ClearPromptsResponse]:
        session, frame = draft.session, request.frame_index
        here = request.HasField("frame_index")
        if here:
            say.check_frame(frame, session.frame_count)
        if request.object_id:
            say.check_objects([request.object_id], draft.objects)
        ids = [request.object_id] if request.object_id else list(draft.objects)
        gone = await self._asking.prompts_of(draft, set(ids), frame if here else None)
        self._take_back(draft, gone)
        if request.clear_masks:
            await self._forget_masks(draft, set(ids), frame if here else None)
        objects: list[segmenter_pb2.ObjectMask] = []
        if here:
            before = await self._masks.frame(session.session_id, frame)
            now = draft.with_changes(frame, before)
            objects = await asyncio.to_thread(
                say.mask_messages, now, session.size, request.mask_encoding
            )
        return lambda revision: pb.ClearPromptsResponse(
            prompt_count=len(gone), objects=objects, revision=revision
        )

    async def _removed(
        self, draft: Draft, request: pb.RemovePromptsRequest
    ) -> Callable[[int], pb.RemovePromptsResponse]:
        everything = await self._asking.prompts_of(draft, set(draft.objects), None)
        wanted = set(request.prompt_ids)
        missing = sorted(wanted - {entry.prompt_id for entry in everything})
        if missing:
            told = ", ".join(map(str, missing[:50]))
            raise errors.not_found(f"there is no prompt {told}", reason="NO_SUCH_PROMPT")
        gone = [entry for entry in everything if entry.prompt_id in wanted]
        left = [entry for entry in everything if entry.prompt_id not in wanted]
        places = {(entry.object_id, entry.frame_index) for entry in gone}
        _, bases = await self._asking.said(draft, places)
        draft.writes.append(taking_back(draft, wanted))
        for frame in sorted({frame for _, frame in places}):
            await self._again(draft, frame, [p for p in places if p[1] == frame], left, bases)
        frames = await self._frames(draft, sorted({f for _, f in places}), request.mask_encoding)
        return lambda revision: pb.RemovePromptsResponse(frames=frames, revision=revision)

    async def _again(
        self,
        draft: Draft,
        frame: int,
        places: Sequence[Place],
        left: Sequence[PromptRecord],
        bases: dict[Place, Base],
    ) -> None:
        """The masks of a frame without some prompts: of what is left, or those before any."""
        said: dict[Place, list[PromptRecord]] = {}
        for place in places:
            own = [entry for entry in left if (entry.object_id, entry.frame_index) == place]
            prompts = [entry.prompt for entry in own]
            if own and saying.joined(prompts, bases[place], draft.session.size) is not None:
                said[place] = own
                continue
            base = bases.get(place, Base())
            size = draft.session.size
            known = base.rle and saying.entry_of_rle(place[0], base.rle, size, base.score)
            draft.put(frame, place[0], known or None)
            if own:
                draft.prompt_on(place[0], frame)
            else:
                draft.prompt_off(place[0], frame)
        masks, _ = await self._asking.segmented(draft, frame, said, bases)
        for (object_id, _), mask in masks.items():
            draft.put(frame, object_id, mask)
            draft.prompt_on(object_id, frame)

    def _take_back(self, draft: Draft, gone: Sequence[PromptRecord]) -> None:
        draft.writes.append(taking_back(draft, [entry.prompt_id for entry in gone]))
        for object_id, frame in {(entry.object_id, entry.frame_index) for entry in gone}:
            draft.prompt_off(object_id, frame)

    async def _forget_masks(self, draft: Draft, ids: set[int], frame: int | None) -> None:
        """Of some objects, on one frame or on all."""
        session = draft.session
        first, last = (0, session.last_frame) if frame is None else (frame, frame)
        async for number, entries in self._masks.chunks(session.session_id, first, last):
            for object_id in ids & entries.keys():
                draft.put(number, object_id, None)

    async def _frames(
        self, draft: Draft, numbers: Sequence[int], encoding: media_pb2.MaskEncoding.ValueType
    ) -> list[pb.SessionFrame]:
        session, found = draft.session, []
        for number in numbers:
            before = await self._masks.frame(session.session_id, number)
            now = draft.with_changes(number, before)
            objects = await asyncio.to_thread(say.mask_messages, now, session.size, encoding)
            time_us = await self._library.time_us(session.video_id, number)
            stale = draft.is_stale(number)
            found.append(say.frame_message(number, time_us, objects, stale=stale))
        return found
