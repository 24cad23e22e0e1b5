"""Propagations of this gateway: begun, followed, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from kinemask.v1 import annotations_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.annotations import lease, prompt_records, records
from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.plan import Direction, Plan, Target, make_plan, masks_of
from kinemask_gateway.annotations.records import SessionRecord
from kinemask_gateway.annotations.running import Running, new_holder
from kinemask_gateway.annotations.spans import minus, of_frames, within
from kinemask_gateway.annotations.tools import Tools
from kinemask_gateway.library import answers

_LOOK_EVERY_S = 0.05
_SETTLE_S = 3.0


class Propagations:
    """Begins propagations and finds those that run here."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._running: dict[str, Running] = {}

    async def propagate(
        self, request: pb.PropagateRequest
    ) -> AsyncGenerator[pb.PropagateResponse, None]:
        """Propagate; errors as annotations.proto says."""
        async with self._tools.database.connection() as connection:
            answered = await answers.recall(connection, request, pb.PropagateResponse)
        if answered is not None:
            yield answered
            return
        running = self._same(request) or await self._begun(request)
        async with aclosing(running.follow()) as following:
            async for answer in following:
                yield answer

    async def cancel(self, request: pb.CancelPropagationRequest) -> pb.CancelPropagationResponse:
        """CancelPropagation; answers once it has stopped, whichever gateway runs it."""
        async with self._tools.database.connection() as connection:
            found = await answers.recall(connection, request, pb.CancelPropagationResponse)
            if found is not None:
                return found
            session = await records.get(connection, request.session_id, lock=True)
            wanted = await lease.cancel(connection, session, request.propagation_id)
        while session.propagating and session.propagation_id == wanted:
            await asyncio.sleep(_LOOK_EVERY_S)
            async with self._tools.database.connection() as connection:
                session = await records.get(connection, request.session_id)
        answer = pb.CancelPropagationResponse(done_frames=session.propagation_done)
        async with self._tools.database.connection() as connection:
            await answers.remember(connection, request, answer)
        return answer

    async def close(self) -> None:
        """Stop all; what they have done is stored."""
        running = list(self._running.values())
        for one in running:
            one.stop(errors.unavailable("this replica leaves", reason="SHUTTING_DOWN"))
        await asyncio.gather(*(one.task for one in running), return_exceptions=True)

    def _same(self, request: pb.PropagateRequest) -> Running | None:
        """The propagation that a repeated request has begun."""
        running = self._running.get(request.session_id)
        if running is None or running.task.done() or not request.request_id:
            return None
        if running.request.request_id != request.request_id:
            return None
        if running.request != request:
            what = f"request_id {request.request_id} came before with another content"
            raise errors.invalid("request_id", what, reason="REQUEST_ID_REUSED")
        return running

    async def _begun(self, request: pb.PropagateRequest) -> Running:
        held = self._tools.held.wake(request.session_id)
        async with held.lock:
            await held.settled(_SETTLE_S)
            if (same := self._same(request)) is not None:
                return same  # it was begun while this waited
            holder = new_holder()
            async with self._tools.database.connection() as connection:
                session = await records.get(connection, request.session_id, lock=True)
                records.check_still(session)
                propagation_id = await lease.begin(connection, session, holder)
            try:
                plan = await self._plan(request, session)
            except BaseException:
                async with self._tools.database.connection() as connection:
                    await lease.end(connection, request.session_id, holder, 0)
                raise
            running = Running(self._tools, request, session, plan, holder, propagation_id)
            self._running[request.session_id] = running
            running.task.add_done_callback(lambda _: self._forget(running))
            return running

    def _forget(self, running: Running) -> None:
        session_id = running.request.session_id
        if self._running.get(session_id) is running:
            del self._running[session_id]

    async def _plan(self, request: pb.PropagateRequest, session: SessionRecord) -> Plan:
        """Raises ServiceError: there is nothing to begin with, or not where it was asked for."""
        async with self._tools.database.connection() as connection:
            objects = await records.objects(connection, session.session_id)
            prompted = await prompt_records.frames_of(connection, session.session_id)
        say.check_objects(request.object_ids, objects)
        span = say.span_of(request.range, session.frame_count)
        wanted = set(request.object_ids) or objects.keys()
        if not prompted and not any(objects[key].imported for key in wanted):
            what = "the session has no prompts; say first what is to be followed"
            raise errors.failed_precondition(what, reason="NO_PROMPTS")
        targets = [
            Target(key, prompted.get(key, []), entry.stale, entry.imported)
            for key, entry in objects.items()
            if key in wanted
        ]
        seeds = await _seeds(self._tools.masks, session, targets, span)
        direction = Direction(request.direction or Direction.BOTH)
        plan = make_plan(targets, span, direction, masks_of(seeds), only_stale=request.only_stale)
        if plan.unreachable and not plan.total_frames:
            what = "the range touches no frame that is prompted or has masks"
            raise errors.failed_precondition(what, reason="NOTHING_TO_CARRY")
        return plan


async def _seeds(
    masks: MaskStore, session: SessionRecord, targets: Iterable[Target], span: tuple[int, int]
) -> dict[tuple[int, int], bytes | None]:
    """The masks around all runs that there may be, by object and frame."""
    found: dict[tuple[int, int], bytes | None] = {}
    for target in targets:
        for spans in ((span,), within(target.stale, *span)):
            for first, last in minus(spans, of_frames(target.prompted)):
                for frame in (first - 1, first, last, last + 1):
                    place = (target.object_id, frame)
                    if place in found or not 0 <= frame <= session.last_frame:
                        continue
                    entries = await masks.frame(session.session_id, frame)
                    entry = entries.get(target.object_id)
                    known = entry.rle if entry is not None else None
                    # Said not to be there: as good as known.
                    found[place] = b"" if known is None and frame in target.prompted else known
    return found
