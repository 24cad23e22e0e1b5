"""A propagation while it runs: walks, stores, tells everybody who follows it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import grpc
import structlog
from kinemask.v1 import annotations_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.annotations import lease, records, saying
from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.followers import Followers
from kinemask_gateway.annotations.held import HeldSessions
from kinemask_gateway.annotations.lease import Life
from kinemask_gateway.annotations.masks import MaskStore
from kinemask_gateway.annotations.plan import Plan
from kinemask_gateway.annotations.records import SessionRecord
from kinemask_gateway.annotations.spans import minus, of_frames
from kinemask_gateway.annotations.walk import Walk, Walked
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.jobs.body import JobPhase
from kinemask_gateway.jobs.context import Rate
from kinemask_gateway.library import answers
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.tracks.values import TrackedObject

_LOOK_EVERY_S = 0.25
_STORE_EVERY_S = 0.4
_MOST_UNSTORED = 64
_TELL_EVERY_S = 0.9

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Tools:
    """What every propagation of this process works with."""

    database: Connects
    library: Library
    masks: MaskStore
    calls: SegmenterCalls
    held: HeldSessions
    leaving: asyncio.Event
    max_message_bytes: int


class Running:
    """One propagation, from when it holds its session.

    Invariant: a frame is told after it is stored. Once `task` is done the session is held no more,
    and every follower has been told the end.
    """

    def __init__(
        self,
        tools: Tools,
        request: pb.PropagateRequest,
        session: SessionRecord,
        plan: Plan,
        holder: str,
        propagation_id: int,
    ) -> None:
        self.request = request
        self.propagation_id = propagation_id
        self.done_frames = 0
        self._tools = tools
        self._session = session
        self._plan = plan
        self._holder = holder
        self._rate = Rate()
        self._pending: list[Walked] = []
        self._pending_s = 0.0
        self._last_frame = 0
        self._told_s = time.monotonic()
        self._service_told = False
        self._walk: Walk | None = None
        self._times: FrameSource | None = None
        self._why: errors.ServiceError | None = None
        self._followers = Followers()
        self._last: pb.PropagateResponse | Exception = _lost()
        self.task = asyncio.create_task(self._run())

    async def follow(self) -> AsyncGenerator[pb.PropagateResponse, None]:
        """Everything it says from now on; when the last follower leaves, it stops.

        Raises:
            ServiceError: as Propagate.
        """
        try:
            async with aclosing(self._followers.listen()) as told:
                async for answer in told:
                    yield answer
            if isinstance(self._last, Exception):
                raise self._last
            yield self._last
        finally:
            if not self._followers.count and not self.task.done():
                self.stop(errors.ServiceError(grpc.StatusCode.CANCELLED, "left", reason="LEFT"))

    def stop(self, why: errors.ServiceError) -> None:
        """End it; what is done stays done."""
        if self._why is None:
            self._why = why
            if (held := self._tools.held.find(self._session.session_id)) is not None:
                held.ending = self.task
            self.task.cancel()

    # --- the work

    async def _run(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            self._last = await self._work()
        except asyncio.CancelledError:
            self._last = self._why or errors.aborted("it was stopped", reason="STOPPED")
        except errors.ServiceError as error:
            self._last = error
        except Exception as error:  # noqa: BLE001 - whatever it is, followers must not wait for ever
            self._last = errors.from_status(errors.status_from_exception(error))
        watching.cancel()
        try:
            if isinstance(self._last, Exception):
                self._why = self._why or errors.aborted("it has failed", reason="FAILED")
                await self._let_go()
        finally:
            self._followers.end()

    async def _work(self) -> pb.PropagateResponse:
        session, stopped = self._session, threading.Event()
        async with self._tools.library.open(session.video_id) as stored:
            source = FrameSource(stored.reader(), self._tools.max_message_bytes, stopped)
            self._times = source
            try:
                for steps in (self._plan.forwards, self._plan.backwards):
                    if steps:
                        await self._walked(
                            Walk(self._tools.calls, session.options, source, steps, session.size)
                        )
                return await self._finish()
            finally:
                stopped.set()

    async def _walked(self, walk: Walk) -> None:
        """Everything that a walk finds, stored every now and then, also while it waits."""
        self._walk = walk
        async with aclosing(walk.run()) as walking:
            coming = asyncio.ensure_future(_next_of(walking))
            try:
                while True:
                    await asyncio.wait((coming,), timeout=self._until_due_s())
                    if coming.done():
                        walked = coming.result()
                        if walked is None:
                            break
                        coming = asyncio.ensure_future(_next_of(walking))
                        self._take(walked)
                    if self._pending and self._until_due_s() == 0:
                        await self._store()
                await self._store()
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    def _take(self, walked: Walked) -> None:
        if not self._pending:
            self._pending_s = time.monotonic()
        if walked.step.wanted:
            self._pending.append(walked)

    def _until_due_s(self) -> float | None:
        """Seconds until what is found is to be stored; None while there is nothing."""
        if not self._pending:
            return None
        if len(self._pending) >= _MOST_UNSTORED:
            return 0.0
        return max(self._pending_s + _STORE_EVERY_S - time.monotonic(), 0.0)

    async def _store(self) -> None:
        """Put what was found in force, then tell of it."""
        walked, self._pending = self._pending, []
        if not walked:
            return
        changes = {one.step.frame_index: _entries(one) for one in walked if one.result is not None}
        if changes:
            await self._in_force(changes)
        self.done_frames += len(walked)
        self._last_frame = walked[-1].step.frame_index
        fraction = self.done_frames / self._plan.total_frames
        self._rate.add(time.monotonic(), JobPhase.FOLLOW, self.done_frames, fraction)
        first = self.done_frames - len(walked)
        if self.request.include_masks:
            for number, one in enumerate(walked, 1):
                await self._tell(first + number, one)
        else:
            await self._tell(self.done_frames, None)

    async def _in_force(self, changes: dict[int, dict[int, TrackedObject]]) -> None:
        tools, session_id = self._tools, self._session.session_id
        made = await tools.masks.write(session_id, changes)
        kept = False
        try:
            async with tools.database.connection() as connection:
                if not await lease.is_holder(connection, session_id, self._holder):
                    raise _lost()
                known = await records.objects(connection, session_id)
                for object_id, entry in known.items():
                    made_on = (f for f, entries in changes.items() if object_id in entries)
                    stale = minus(entry.stale, of_frames(made_on))
                    if stale != entry.stale:
                        fresh = replace(entry, stale=stale)
                        await records.put_object(connection, session_id, fresh)
                await tools.masks.keep(connection, session_id, made)
                await records.changed(connection, self._session, ids=0, prompts=0)
            kept = True
        finally:
            await tools.masks.tidy(made, kept=kept)

    async def _finish(self) -> pb.PropagateResponse:
        session_id = self._session.session_id
        async with self._tools.database.connection() as connection:
            if not await lease.is_holder(connection, session_id, self._holder):
                raise _lost()
            await lease.end(connection, session_id, self._holder, self.done_frames)
            session = await records.get(connection, session_id)
            last = self._message(self.done_frames)
            last.done, last.revision = True, session.revision
            await answers.remember(connection, self.request, last)
        return last

    async def _let_go(self) -> None:
        """Store what was found before the end came, and hold the session no more."""
        try:
            await self._store()
        except (errors.ServiceError, asyncio.CancelledError):
            _log.info("propagation_cut_short", session_id=self._session.session_id)
        try:
            async with self._tools.database.connection() as connection:
                session_id = self._session.session_id
                await lease.end(connection, session_id, self._holder, self.done_frames)
        except errors.ServiceError:
            _log.warning("propagation_left_held", session_id=self._session.session_id)

    async def _watch(self) -> None:
        """Give signs of life; stop when that is wished, or when somebody else has taken over."""
        session_id = self._session.session_id
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._tools.held.wake(session_id)
            if self._tools.leaving.is_set():
                return self.stop(errors.unavailable("this replica leaves", reason="SHUTTING_DOWN"))
            try:
                async with self._tools.database.connection() as connection:
                    life = await lease.live_on(
                        connection, session_id, self._holder, self.done_frames
                    )
            except errors.ServiceError:
                continue  # while the database is away nobody can say otherwise
            if life is Life.CANCELLED:
                code, what = grpc.StatusCode.CANCELLED, "the propagation was cancelled"
                return self.stop(errors.ServiceError(code, what, reason="PROPAGATION_CANCELLED"))
            if life is Life.LOST:
                return self.stop(_lost())
            if time.monotonic() - self._told_s > _TELL_EVERY_S and not self._followers.full:
                await self._tell(self.done_frames, None)

    # --- telling

    async def _tell(self, done_frames: int, walked: Walked | None) -> None:
        message = self._message(done_frames)
        if walked is not None:
            message.frame_index = walked.step.frame_index
            message.frame.CopyFrom(await asyncio.to_thread(self._frame, walked))
        if not self._service_told and self._walk is not None and self._walk.service is not None:
            message.service.CopyFrom(self._walk.service)
            self._service_told = True
        self._told_s = time.monotonic()
        await self._followers.tell(message, wait=self._why is None)

    def _message(self, done_frames: int) -> pb.PropagateResponse:
        return pb.PropagateResponse(
            propagation_id=self.propagation_id,
            done_frames=done_frames,
            total_frames=self._plan.total_frames,
            frames_per_s=self._rate.frames_per_s,
            left_s=self._rate.left_s,
            frame_index=self._last_frame,
        )

    def _frame(self, walked: Walked) -> pb.SessionFrame:
        assert self._times is not None  # it is there before the first step
        number = walked.step.frame_index
        time_us = self._times.time_us(number)
        if walked.error is not None:
            return pb.SessionFrame(frame_index=number, time_us=time_us, error=walked.error)
        objects = say.mask_messages(
            _entries(walked), self._session.size, self.request.mask_encoding
        )
        return say.frame_message(number, time_us, objects, stale=False)


async def _next_of(walking: AsyncGenerator[Walked, None]) -> Walked | None:
    return await anext(walking, None)


def new_holder() -> str:
    """A name for who runs a propagation."""
    return uuid.uuid4().hex


def _entries(walked: Walked) -> dict[int, TrackedObject]:
    """The masks that are to be kept of a step."""
    result = walked.result
    found = {entry.object_id: entry for entry in result.objects} if result is not None else {}
    step, kept = walked.step, {}
    for object_id in sorted(step.wanted):
        entry = None if object_id in step.absent else found.get(object_id)
        kept[object_id] = (
            saying.absent(object_id) if entry is None else saying.entry_of_message(object_id, entry)
        )
    return kept


def _lost() -> errors.ServiceError:
    what = "the session was deleted, or another gateway has taken it over"
    return errors.aborted(what, reason="PROPAGATION_LOST")
