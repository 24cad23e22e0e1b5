"""What a session holds, for clients to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kinemask.v1 import annotations_pb2 as pb

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import prompt_records, records
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.overlay import Overlay
from kinemask_gateway.annotations.sessions import Sessions
from kinemask_gateway.annotations.spans import contains, union
from kinemask_gateway.library import pages
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connects

_PROMPT_BITS = 32


class Reading:
    """Answers prompts, masks and pictures of sessions."""

    def __init__(
        self,
        database: Connects,
        library: Library,
        sessions: Sessions,
        masks: MaskStore,
        max_message_bytes: int,
    ) -> None:
        self._database = database
        self._library = library
        self._sessions = sessions
        self._masks = masks
        self._most_bytes = max_message_bytes

    async def prompts(self, request: pb.ListPromptsRequest) -> pb.ListPromptsResponse:
        """ListPrompts; errors as annotations.proto says."""
        after, size = pages.before(request) or -1, pages.page_size(request.page_size)
        async with self._database.connection() as connection:
            session = await records.get(connection, request.session_id)
            span = say.span_of(request.range, session.frame_count)
            found = await prompt_records.page(
                connection,
                session.session_id,
                span,
                request.object_ids,
                (after >> _PROMPT_BITS, after & (1 << _PROMPT_BITS) - 1),
                size + 1,
            )
        more = ""
        if len(found) > size:
            last = found[size - 1]
            more = pages.token(request, last.frame_index << _PROMPT_BITS | last.prompt_id)
        told = [say.prompt_message(entry) for entry in found[:size]]
        return pb.ListPromptsResponse(prompts=told, next_page_token=more)

    async def masks(self, request: pb.GetMasksRequest) -> AsyncIterator[pb.GetMasksResponse]:
        """GetMasks; errors as annotations.proto says."""
        _, session = await self._sessions.awake(request.session_id)
        first, last = say.span_of(request.range, session.frame_count)
        async with self._database.connection() as connection:
            known = await records.objects(connection, session.session_id)
        wanted = set(request.object_ids)
        stale = union(*(entry.stale for entry in known.values()))
        async with self._library.open(session.video_id) as stored:
            async for number, entries in self._masks.chunks(session.session_id, first, last):
                there = {
                    key: entry
                    for key, entry in entries.items()
                    if key in known and (not wanted or key in wanted)
                }
                if not any(entry.present for entry in there.values()):
                    continue
                objects = await asyncio.to_thread(
                    say.mask_messages, there, session.size, request.mask_encoding
                )
                time_us, is_stale = stored.index.time_us(number), contains(stale, number)
                frame = say.frame_message(number, time_us, objects, stale=is_stale)
                yield pb.GetMasksResponse(frame=frame)

    async def overlay(self, request: pb.GetOverlayRequest) -> pb.GetOverlayResponse:
        """GetOverlay; errors as annotations.proto says."""
        overlay = Overlay(request)
        held, session = await self._sessions.awake(request.session_id)
        number = request.frame_index
        say.check_frame(number, session.frame_count)
        async with self._database.connection() as connection:
            session = await records.get(connection, session.session_id)
            known = await records.objects(connection, session.session_id)
            said = (
                await prompt_records.of_session(connection, session.session_id, (number,))
                if request.show_prompts
                else []
            )
        entries = await self._masks.frame(session.session_id, number)
        frame = await held.frame(self._library, session.video_id, number, self._most_bytes)
        picture = await self._library.in_thread(overlay.draw, frame.rgb, entries, known, said)
        return pb.GetOverlayResponse(
            jpeg=picture.encoded,
            width=picture.width,
            height=picture.height,
            revision=session.revision,
        )
