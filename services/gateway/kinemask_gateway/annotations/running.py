"""A propagation while it runs: walks, stores, tells everybody who follows it."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import structlog
from kinemask.v1 import annotations_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.annotations import lease, records
from kinemask_gateway.annotations.lease import Life
from kinemask_gateway.annotations.plan import Plan
from kinemask_gateway.annotations.records import SessionRecord
from kinemask_gateway.annotations.storing import Storing, lost
from kinemask_gateway.annotations.telling import Telling
from kinemask_gateway.annotations.tools import Tools
from kinemask_gateway.annotations.walk import Walk, Walked
from kinemask_gateway.following.frames import FrameSource
from kinemask_gateway.library import answers

_LOOK_EVERY_S = 0.25

_log = structlog.get_logger(__name__)


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
        self._tools = tools
        self._session = session
        self._plan = plan
        self._holder = holder
        self._storing = Storing(tools, session, holder)
        self._telling = Telling(request, session.size, propagation_id, plan.total_frames)
        self._why: errors.ServiceError | None = None
        self._last: pb.PropagateResponse | Exception = lost()
        self.task = asyncio.create_task(self._run())

    async def follow(self) -> AsyncGenerator[pb.PropagateResponse, None]:
        """Everything it says from now on; when the last follower leaves, it stops.

        Raises:
            ServiceError: as Propagate.
        """
        followers = self._telling.followers
        try:
            async with aclosing(followers.listen()) as told:
                async for answer in told:
                    yield answer
            if isinstance(self._last, Exception):
                raise self._last
            yield self._last
        finally:
            if not followers.count and not self.task.done():
                self.stop(errors.ServiceError(grpc.StatusCode.CANCELLED, "left", reason="LEFT"))

    def stop(self, why: errors.ServiceError) -> None:
        """End it; what is done stays done."""
        if self._why is None:
            self._end_for(why)
            if (held := self._tools.held.find(self._session.session_id)) is not None:
                held.ending = self.task
            self.task.cancel()

    def _end_for(self, why: errors.ServiceError) -> None:
        self._why = why
        self._telling.waits = False

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
                if self._why is None:
                    self._end_for(errors.aborted("it has failed", reason="FAILED"))
                await self._let_go()
        finally:
            self._telling.followers.end()

    async def _work(self) -> pb.PropagateResponse:
        session, stopped = self._session, threading.Event()
        async with self._tools.library.open(session.video_id) as stored:
            source = FrameSource(stored.reader(), self._tools.max_message_bytes, stopped)
            self._telling.times = source
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
        async with aclosing(walk.run()) as walking:
            coming = asyncio.ensure_future(_next_of(walking))
            try:
                while True:
                    await asyncio.wait((coming,), timeout=self._storing.until_due_s())
                    if coming.done():
                        walked = coming.result()
                        if walked is None:
                            break
                        coming = asyncio.ensure_future(_next_of(walking))
                        self._telling.service = walk.service
                        self._storing.take(walked)
                    if self._storing.until_due_s() == 0:
                        await self._store()
                await self._store()
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _store(self) -> None:
        await self._telling.stored(await self._storing.store())

    async def _finish(self) -> pb.PropagateResponse:
        session_id = self._session.session_id
        async with self._tools.database.connection() as connection:
            if not await lease.is_holder(connection, session_id, self._holder):
                raise lost()
            await lease.end(connection, session_id, self._holder, self._telling.done_frames)
            session = await records.get(connection, session_id)
            last = self._telling.message()
            last.done, last.revision = True, session.revision
            await answers.remember(connection, self.request, last)
        return last

    async def _let_go(self) -> None:
        """Store what was found before the end came, and hold the session no more."""
        session_id = self._session.session_id
        try:
            await self._store()
        except (errors.ServiceError, asyncio.CancelledError):
            _log.info("propagation_cut_short", session_id=session_id)
        try:
            async with self._tools.database.connection() as connection:
                await lease.end(connection, session_id, self._holder, self._telling.done_frames)
        except errors.ServiceError:
            _log.warning("propagation_left_held", session_id=session_id)

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
                        connection, session_id, self._holder, self._telling.done_frames
                    )
            except errors.ServiceError:
                continue  # while the database is away nobody can say otherwise
            if life is Life.CANCELLED:
                code, what = grpc.StatusCode.CANCELLED, "the propagation was cancelled"
                return self.stop(errors.ServiceError(code, what, reason="PROPAGATION_CANCELLED"))
            if life is Life.LOST:
                return self.stop(lost())
            await self._telling.going_on()


async def _next_of(walking: AsyncGenerator[Walked, None]) -> Walked | None:
    return await anext(walking, None)


def new_holder() -> str:
    """A name for who runs a propagation."""
    return uuid.uuid4().hex
