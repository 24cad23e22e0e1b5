"""What prompts make of their frames: the segmenter is asked, and what is stored is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from kinemask.v1 import media_pb2, segmenter_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import prompt_records, saying
from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.editing import Draft
from kinemask_gateway.annotations.prompt_records import Base, PromptRecord
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.tracks.values import TrackedObject

Place = tuple[int, int]
"""Object and frame."""


class Asking:
    """Turns what is said on a frame into masks."""

    def __init__(
        self, database: Connects, library: Library, calls: SegmenterCalls, max_message_bytes: int
    ) -> None:
        self._database = database
        self._library = library
        self._calls = calls
        self._most_bytes = max_message_bytes

    async def segmented(
        self,
        draft: Draft,
        frame_index: int,
        said: dict[Place, list[PromptRecord]],
        bases: dict[Place, Base],
    ) -> tuple[dict[Place, TrackedObject], segmenter_pb2.SegmentImageResponse | None]:
        """The masks that come of what is said on a frame; a mask alone needs no segmenter.

        Raises:
            ServiceError: INVALID_ARGUMENT: nothing says where an object is.
        """
        size = draft.session.size
        found: dict[Place, TrackedObject] = {}
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

    async def prompts_of(
        self, draft: Draft, ids: set[int], frame: int | None
    ) -> list[PromptRecord]:
        async with self._database.connection() as connection:
            frames = None if frame is None else (frame,)
            said = await prompt_records.of_session(connection, draft.session.session_id, frames)
        return [entry for entry in said if entry.object_id in ids]

    async def said(
        self, draft: Draft, places: set[Place]
    ) -> tuple[dict[Place, list[PromptRecord]], dict[Place, Base]]:
        """What was said so far of objects on frames, and the masks from before."""
        session_id = draft.session.session_id
        async with self._database.connection() as connection:
            frames = {frame for _, frame in places}
            said = await prompt_records.of_session(connection, session_id, frames)
            bases = await prompt_records.bases_of(connection, session_id, frames)
        found: dict[Place, list[PromptRecord]] = {}
        for entry in said:
            place = (entry.object_id, entry.frame_index)
            if place in places:
                found.setdefault(place, []).append(entry)
        return found, {place: base for place, base in bases.items() if place in places}


def taking_back(draft: Draft, prompt_ids: Iterable[int]) -> Callable[..., Awaitable[None]]:
    ids, session_id = list(prompt_ids), draft.session.session_id
    return lambda connection: prompt_records.remove(connection, session_id, ids)
