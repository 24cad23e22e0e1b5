"""A stage that runs beside the masks: on some frames, one request at a time, on nobody's time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from kinemask.v1 import live_pb2
from kinemask_chassis import errors

from kinemask_gateway.live.failures import StageDown
from kinemask_gateway.live.reporting import FrameReports

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class SideStage(Generic[ItemT, AnswerT]):
    """Gives every n-th frame to `work`, and what comes back to `on_answer`, late.

    Invariants: `offer` never waits; at most one `work` runs. While it does, frames that are due are
    passed over, which the first of them is told; the first frame after it is due at once.
    """

    def __init__(
        self,
        stage: live_pb2.Stage.ValueType,
        every_n_frames: int,
        work: Callable[[ItemT, live_pb2.StageReport], Awaitable[AnswerT]],
        on_answer: Callable[[int, AnswerT], None],
    ) -> None:
        """`work` may fill in its report further, and raises StageDown where the stage fails.

        `on_answer` gets the frame's id and the answer.
        """
        self.every_n_frames = every_n_frames
        self._stage = stage
        self._work = work
        self._on_answer = on_answer
        self._running: asyncio.Task[None] | None = None
        self._landed: list[live_pb2.StageReport] = []
        self._since_last: int | None = None
        self._told = False

    @property
    def busy(self) -> bool:
        """True while a request is under way."""
        return self._running is not None and not self._running.done()

    def offer(self, frame_id: int, item: ItemT, reports: FrameReports) -> None:
        """Count a frame, in frame order, and begin work on it if it is due.

        `reports` takes what ended since the last frame.
        """
        landed, self._landed = self._landed, []
        reports.take(landed)
        if self._since_last is not None:
            self._since_last += 1
            if self._since_last < self.every_n_frames:
                return
        if not self.busy:
            self._since_last, self._told = 0, False
            self._running = asyncio.create_task(self._run(frame_id, item))
        elif not self._told:
            self._told = True
            slow = errors.aborted("the frame before is still being worked on", reason="STAGE_SLOW")
            reports.degrade(self._stage, slow.to_status())

    def close(self) -> None:
        """Give up what is under way. Idempotent."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, frame_id: int, item: ItemT) -> None:
        reports = FrameReports(frame_id)
        try:
            with reports.timed(self._stage) as report:
                answer = await self._work(item, report)
            self._on_answer(frame_id, answer)
        except StageDown as down:
            reports.degrade(self._stage, down.error.to_status())
        except Exception as error:  # noqa: BLE001 - what happens beside the masks must not end them
            reports.degrade(self._stage, errors.status_from_exception(error))
        self._landed += reports.messages()
