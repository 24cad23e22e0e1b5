"""One device for many streams: their work runs side by side, and equal requests as one batch.

Each stream has a lane. Work of one lane runs in the order it came, one piece at a time; lanes take
turns, a piece of work each, and a long piece rests while others wait. As nothing here waits for a
client, none can hold up another.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from kinemask_chassis import errors

from kinemask_segmenter.engines.sam2.work import Request, Work, answers

ResultT = TypeVar("ResultT")
_ROUNDS = 4
"""Requests after which a piece rests if other lanes wait; a frame takes two or three."""
_log = structlog.get_logger(__name__)


class _Piece:
    """Work that has been asked for."""

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.outcome: Future[Any] = Future()
        self.answer: Any = None
        self.error: BaseException | None = None
        self.rounds = 0
        """Requests since it last rested."""
        self._begun = False

    def begin(self) -> bool:
        """Begin, or go on; False if it was cancelled before it began."""
        self._begun = self._begun or self.outcome.set_running_or_notify_cancel()
        return self._begun

    def refuse(self, error: Exception) -> None:
        """It is not to begin, or to go on."""
        if self.begin():
            self.work.close()
            self.outcome.set_exception(error)

    def next_request(self) -> Request | None:
        """What it needs next; None once it is over and its outcome set."""
        self.rounds += 1
        try:
            if self.error is not None:
                error, self.error = self.error, None
                return self.work.throw(error)
            return self.work.send(self.answer)
        except StopIteration as end:
            self.outcome.set_result(end.value)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is its caller's
            self.outcome.set_exception(error)
        return None


class Lane:
    """The work of one stream or picture, in order."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.pieces: deque[_Piece] = deque()

    async def run(self, work: Work[ResultT]) -> ResultT:
        """What the work returns.

        Cancelled while it waits, it never begins; cancelled while it runs, it runs to its end.

        Raises:
            ServiceError: UNAVAILABLE: the scheduler is closed. Or whatever the work raises.
        """
        piece = _Piece(work)
        self._scheduler.add(self, piece)
        result: ResultT = await asyncio.wrap_future(piece.outcome)
        return result

    def run_now(self, work: Work[ResultT]) -> ResultT:
        """The same for a caller that may block; not for the scheduler's own thread."""
        piece = _Piece(work)
        self._scheduler.add(self, piece)
        result: ResultT = piece.outcome.result()
        return result


class Scheduler:
    """A thread that owns the device.

    Invariant: a lane is in `_active` while its first piece runs, else in `_waiting` if it has
    pieces, be the first one begun or not, and nowhere if it has none. `_active` is only touched by
    the thread.
    """

    def __init__(self, name: str, max_batch: int = 1) -> None:
        """`max_batch` is how many lanes run side by side; more than 1 pays where batches do."""
        self._name = name
        self._max_batch = max_batch
        self._waiting: deque[Lane] = deque()
        self._active: list[Lane] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def lane(self) -> Lane:
        """A lane of its own for a stream."""
        return Lane(self)

    def add(self, lane: Lane, piece: _Piece) -> None:
        """Queue a piece of work; see `Lane.run`."""
        with self._changed:
            if self._closed:
                raise self._gone()
            lane.pieces.append(piece)
            if len(lane.pieces) == 1:
                self._waiting.append(lane)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Refuse what waits; does not wait for what runs. Idempotent."""
        with self._changed:
            self._closed = True
            for lane in self._waiting:
                self._refuse(lane)
            self._waiting.clear()
            self._changed.notify()

    # --- the thread

    def _run(self) -> None:
        while self._take():
            pieces = [lane.pieces[0] for lane in self._active]
            requests = [piece.next_request() for piece in pieces]
            self._compute(
                [
                    (piece, request)
                    for piece, request in zip(pieces, requests, strict=True)
                    if request is not None
                ]
            )
            with self._changed:
                over = [n for n, request in enumerate(requests) if request is None]
                for lane in [self._active[n] for n in over]:
                    self._active.remove(lane)
                    self._turn_over(lane)
                self._rest()

    def _rest(self) -> None:
        """Long work makes room for what waits."""
        if not self._waiting:
            return
        for lane in [each for each in self._active if each.pieces[0].rounds >= _ROUNDS]:
            lane.pieces[0].rounds = 0
            self._active.remove(lane)
            self._waiting.append(lane)

    def _take(self) -> bool:
        """Fill up what runs side by side; False once there is to be no more."""
        with self._changed:
            while not self._active and not self._waiting:
                if self._closed:
                    return False
                self._changed.wait()
            while self._waiting and len(self._active) < self._max_batch:
                lane = self._waiting.popleft()
                if lane.pieces[0].begin():
                    self._active.append(lane)
                else:
                    self._turn_over(lane)
            return True

    def _turn_over(self, lane: Lane) -> None:
        """Its first piece is over: the lane goes to the end of the queue."""
        lane.pieces.popleft()
        if lane.pieces and self._closed:
            self._refuse(lane)
        elif lane.pieces:
            self._waiting.append(lane)

    def _compute(self, wanted: Sequence[tuple[_Piece, Request]]) -> None:
        try:
            found = answers([request for _, request in wanted])
        except Exception as error:  # noqa: BLE001 - a failure is the piece's that caused it
            if len(wanted) == 1:
                wanted[0][0].error = error
                return
            _log.warning("batch_failed", size=len(wanted), error=repr(error))
            for each in wanted:
                self._compute([each])
            return
        for (piece, _), answer in zip(wanted, found, strict=True):
            piece.answer = answer

    def _refuse(self, lane: Lane) -> None:
        while lane.pieces:
            lane.pieces.popleft().refuse(self._gone())

    def _gone(self) -> errors.ServiceError:
        return errors.unavailable(f"{self._name} is shutting down", reason="SHUTTING_DOWN")
