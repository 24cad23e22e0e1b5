"""Prompts: given, taken back, and turned into the masks of their frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from kinemask import effects
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import prompt_records, saying
from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.editing import Draft, Editor
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.prompt_records import Base, PromptRecord
from kinemask_gateway.annotations.records import ObjectRecord
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.messages import plain_text
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.tracks.values import TrackedObject

_Place = tuple[int, int]
"""Object and frame."""


class Prompting:
    """Adds prompts to sessions and takes them back."""

    def __init__(
        self,
        database: Connects,
        library: Library,
        editor: Editor,
        masks: MaskStore,
        calls: SegmenterCalls,
        max_message_bytes: int,
    ) -> None:
        self._database = database
        self._library = library
        self._editor = editor
        self._masks = masks
        self._calls = calls
        self._most_bytes = max_message_bytes

    async def add(self, request: pb.AddPromptsRequest) -> pb.AddPromptsResponse:
        """AddPrompts; errors as annotations.proto says."""
        plain_text("label", request.label)

        async def work(draft: Draft) -> Callable[[int], pb.AddPromptsResponse]:
            return await self._added(draft, request)

        return await self._editor.apply(request, pb.AddPromptsResponse, work)

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

    # --- giving

    async def _added(
        self, draft: Draft, request: pb.AddPromptsRequest
    ) -> Callable[[int], pb.AddPromptsResponse]:
        frame = request.frame_index
        say.check_frame(frame, draft.session.frame_count)
        new = await self._new_prompts(draft, request)
        before = await self._masks.frame(draft.session.session_id, frame)
        said, bases = await self._said(draft, {(entry.object_id, frame) for entry in new})
        if request.replace:
            replaced = [entry.prompt_id for entries in said.values() for entry in entries]
            draft.writes.append(_taking_back(draft, replaced))
            said = {}
        for entry in new:
            place = (entry.object_id, frame)
            bases.setdefault(place, _base(before.get(entry.object_id)))
            said.setdefault(place, []).append(entry)
        masks, reply = await self._segmented(draft, frame, said, bases)
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

    async def _segmented(
        self,
        draft: Draft,
        frame_index: int,
        said: dict[_Place, list[PromptRecord]],
        bases: dict[_Place, Base],
    ) -> tuple[dict[_Place, TrackedObject], segmenter_pb2.SegmentImageResponse | None]:
        """The masks that come of what is said on a frame; a mask alone needs no segmenter.

        Raises:
            ServiceError: INVALID_ARGUMENT: nothing says where an object is.
        """
        size = draft.session.size
        found: dict[_Place, TrackedObject] = {}
        asked: list[segmenter_pb2.ObjectPrompt] = []
        for place, entries in said.items():
            whole = saying.joined([entry.prompt for entry in entries], bases[place], size)
            if whole is None:
                what = f"expected a positive point, a box or a mask for object {place[0]}"
                raise errors.invalid("prompts", what, reason="NOTHING_TO_START")
            whole.object_id = place[0]
            if saying.is_mask_alone(whole):
                found[place] = saying.entry_of_rle(place[0], whole.mask.rle, size)
            else:
                asked.append(whole)
        if not asked:
            return found, None
        reply = await self._ask(draft, frame_index, asked)
        for one in reply.results:
            mask = one.candidates[0] if one.candidates else segmenter_pb2.ObjectMask()
            found[one.object_id, frame_index] = saying.entry_of_message(one.object_id, mask)
        return found, reply

    async def _ask(
        self, draft: Draft, frame_index: int, asked: Sequence[segmenter_pb2.ObjectPrompt]
    ) -> segmenter_pb2.SegmentImageResponse:
        held, session = draft.held, draft.session
        frame = await held.frame(self._library, session.video_id, frame_index, self._most_bytes)
        request = segmenter_pb2.SegmentImageRequest(
            image=frame.message,
            prompts=asked,
            mask_encoding=media_pb2.MASK_ENCODING_RLE,
            model=session.options.model,
            tier=session.options.tier,
            input_size_px=session.options.input_size_px,
        )
        reply = await self._calls.segment(held, request)
        held.service = reply.service
        return reply

    # --- taking back

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
        gone = await self._prompts_of(draft, set(ids), frame if here else None)
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
        everything = await self._prompts_of(draft, set(draft.objects), None)
        wanted = set(request.prompt_ids)
        missing = sorted(wanted - {entry.prompt_id for entry in everything})
        if missing:
            told = ", ".join(map(str, missing[:50]))
            raise errors.not_found(f"there is no prompt {told}", reason="NO_SUCH_PROMPT")
        gone = [entry for entry in everything if entry.prompt_id in wanted]
        left = [entry for entry in everything if entry.prompt_id not in wanted]
        places = {(entry.object_id, entry.frame_index) for entry in gone}
        _, bases = await self._said(draft, places)
        draft.writes.append(_taking_back(draft, wanted))
        for frame in sorted({frame for _, frame in places}):
            await self._again(draft, frame, [p for p in places if p[1] == frame], left, bases)
        frames = await self._frames(draft, sorted({f for _, f in places}), request.mask_encoding)
        return lambda revision: pb.RemovePromptsResponse(frames=frames, revision=revision)

    async def _again(
        self,
        draft: Draft,
        frame: int,
        places: Sequence[_Place],
        left: Sequence[PromptRecord],
        bases: dict[_Place, Base],
    ) -> None:
        """The masks of a frame without some prompts: of what is left, or those before any."""
        said: dict[_Place, list[PromptRecord]] = {}
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
        masks, _ = await self._segmented(draft, frame, said, bases)
        for (object_id, _), mask in masks.items():
            draft.put(frame, object_id, mask)
            draft.prompt_on(object_id, frame)

    def _take_back(self, draft: Draft, gone: Sequence[PromptRecord]) -> None:
        draft.writes.append(_taking_back(draft, [entry.prompt_id for entry in gone]))
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

    # --- what is stored

    async def _prompts_of(
        self, draft: Draft, ids: set[int], frame: int | None
    ) -> list[PromptRecord]:
        async with self._database.connection() as connection:
            frames = None if frame is None else (frame,)
            said = await prompt_records.of_session(connection, draft.session.session_id, frames)
        return [entry for entry in said if entry.object_id in ids]

    async def _said(
        self, draft: Draft, places: set[_Place]
    ) -> tuple[dict[_Place, list[PromptRecord]], dict[_Place, Base]]:
        """What was said so far of objects on frames, and the masks from before."""
        session_id = draft.session.session_id
        async with self._database.connection() as connection:
            frames = {frame for _, frame in places}
            said = await prompt_records.of_session(connection, session_id, frames)
            bases = await prompt_records.bases_of(connection, session_id, frames)
        found: dict[_Place, list[PromptRecord]] = {}
        for entry in said:
            place = (entry.object_id, entry.frame_index)
            if place in places:
                found.setdefault(place, []).append(entry)
        return found, {place: base for place, base in bases.items() if place in places}


def _new_object(object_id: int, label: str) -> ObjectRecord:
    red, green, blue = effects.palette_color(object_id)
    return ObjectRecord(object_id, label, "", red << 16 | green << 8 | blue, imported=False)


def _base(entry: TrackedObject | None) -> Base:
    return Base(entry.rle, entry.score) if entry is not None and entry.present else Base()


def _adding(draft: Draft, entry: PromptRecord) -> Callable[..., Awaitable[None]]:
    session_id = draft.session.session_id
    return lambda connection: prompt_records.add(connection, session_id, entry)


def _keeping(draft: Draft, place: _Place, base: Base) -> Callable[..., Awaitable[None]]:
    session_id = draft.session.session_id
    return lambda connection: prompt_records.keep_base(connection, session_id, *place, base)


def _taking_back(draft: Draft, prompt_ids: Iterable[int]) -> Callable[..., Awaitable[None]]:
    ids, session_id = list(prompt_ids), draft.session.session_id
    return lambda connection: prompt_records.remove(connection, session_id, ids)
