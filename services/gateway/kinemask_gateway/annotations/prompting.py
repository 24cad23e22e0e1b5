"""Prompts that are given, and the masks that come of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from kinemask import effects
from kinemask.v1 import annotations_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import prompt_records, saying
from kinemask_gateway.annotations.asking import Asking, Place, taking_back
from kinemask_gateway.annotations.editing import Draft, Editor
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.prompt_records import Base, PromptRecord
from kinemask_gateway.annotations.records import ObjectRecord
from kinemask_gateway.library.messages import plain_text
from kinemask_gateway.tracks.values import TrackedObject


class Prompting:
    """Adds prompts to sessions."""

    def __init__(self, editor: Editor, masks: MaskStore, asking: Asking) -> None:
        self._editor = editor
        self._masks = masks
        self._asking = asking

    async def add(self, request: pb.AddPromptsRequest) -> pb.AddPromptsResponse:
        """AddPrompts; errors as annotations.proto says."""
        plain_text("label", request.label)

        async def work(draft: Draft) -> Callable[[int], pb.AddPromptsResponse]:
            return await self._added(draft, request)

        return await self._editor.apply(request, pb.AddPromptsResponse, work)

    async def _added(
        self, draft: Draft, request: pb.AddPromptsRequest
    ) -> Callable[[int], pb.AddPromptsResponse]:
        frame = request.frame_index
        say.check_frame(frame, draft.session.frame_count)
        new = await self._new_prompts(draft, request)
        before = await self._masks.frame(draft.session.session_id, frame)
        said, bases = await self._asking.said(draft, {(entry.object_id, frame) for entry in new})
        if request.replace:
            replaced = [entry.prompt_id for entries in said.values() for entry in entries]
            draft.writes.append(taking_back(draft, replaced))
            said = {}
        for entry in new:
            place = (entry.object_id, frame)
            bases.setdefault(place, _base(before.get(entry.object_id)))
            said.setdefault(place, []).append(entry)
        masks, reply = await self._asking.segmented(draft, frame, said, bases)
        for (object_id, _), mask in masks.items():
            draft.put(frame, object_id, mask)
            draft.prompt_on(object_id, frame)
        draft.writes += [_adding(draft, entry) for entry in new]
        draft.writes += [_keeping(draft, place, bases[place]) for place in said]
        now = draft.with_changes(frame, before)
        objects = await asyncio.to_thread(
            say.mask_messages, now, draft.session.size, request.mask_encoding
        )
        return lambda revision: pb.AddPromptsResponse(
            prompts=[say.prompt_message(entry) for entry in new],
            objects=objects,
            revision=revision,
            timing=reply.timing if reply else None,
            service=draft.held.service,
        )

    async def _new_prompts(self, draft: Draft, request: pb.AddPromptsRequest) -> list[PromptRecord]:
        """The prompts of a request, each with its object, which may be new."""
        session, now = draft.session, datetime.now(UTC)
        say.check_objects((p.object_id for p in request.prompts if p.object_id), draft.objects)
        found = []
        for number, prompt in enumerate(request.prompts):
            where = f"prompts[{number}]"
            stored = await asyncio.to_thread(saying.checked, prompt, session.size, where)
            if not stored.object_id:
                stored.object_id = session.next_object_id + draft.new_objects
                draft.new_objects += 1
                draft.update(_new_object(stored.object_id, request.label))
            prompt_id = session.next_prompt_id + draft.new_prompts
            draft.new_prompts += 1
            found.append(
                PromptRecord(prompt_id, stored.object_id, request.frame_index, stored, now)
            )
        most = session.options.max_objects
        if draft.new_objects and len(draft.objects) > most:
            what = f"expected at most {most} objects in the session, got {len(draft.objects)}"
            raise errors.exhausted(what, "TOO_MANY_OBJECTS")
        return found


def _new_object(object_id: int, label: str) -> ObjectRecord:
    red, green, blue = effects.palette_color(object_id)
    return ObjectRecord(object_id, label, "", red << 16 | green << 8 | blue, imported=False)


def _base(entry: TrackedObject | None) -> Base:
    return Base(entry.rle, entry.score) if entry is not None and entry.present else Base()


def _adding(draft: Draft, entry: PromptRecord) -> Callable[..., Awaitable[None]]:
    session_id = draft.session.session_id
    return lambda connection: prompt_records.add(connection, session_id, entry)


def _keeping(draft: Draft, place: Place, base: Base) -> Callable[..., Awaitable[None]]:
    session_id = draft.session.session_id
    return lambda connection: prompt_records.keep_base(connection, session_id, *place, base)
