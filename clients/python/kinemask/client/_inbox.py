"""What comes back on a stream: frames' answers in order, edits' answers, walks over the past."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic

from kinemask.client._connection import AnswerT, StreamKind
from kinemask.client._decode import failure
from kinemask.client._ledger import FrameEntry, Ledger, ProtocolError, State
from kinemask.config import PolicyName
from kinemask.errors import (
    AbortedError,
    ErrorInfo,
    InternalError,
    KinemaskError,
    ResourceExhaustedError,
    StreamClosedError,
)

_log = logging.getLogger("kinemask.client")


@dataclass(frozen=True)
class EditAck:
    """An edit was applied."""

    edit_id: int
    frame_id: int
    """The frame it landed on."""
    object_id: int
    """The object it was about; for a prompt without one, the id that was given."""


@dataclass(eq=False)
class Walk(Generic[AnswerT]):
    """What has come of a propagation and was not taken yet."""

    edit_id: int = 0
    steps: deque[AnswerT] = field(default_factory=deque)
    stopped: bool = False
    """True if it was ended before its last frame, as asked."""


class Inbox(Generic[AnswerT]):
    """Turns a stream's messages into answers, as the ledger says whose turn it is.

    Invariant: every future that `expect_edit` gave is resolved by its answer or by `end`.
    """

    def __init__(self, kind: StreamKind[AnswerT], ledger: Ledger, request_id: str) -> None:
        self.answers: deque[AnswerT] = deque()
        self.news = 0
        """Answers that came from a server so far."""
        self._kind = kind
        self._ledger = ledger
        self._request_id = request_id
        self._edits: dict[int, asyncio.Future[EditAck]] = {}
        self._walks: dict[int, Walk[AnswerT]] = {}

    def expect_edit(
        self, edit_id: int, walk: Walk[AnswerT] | None = None
    ) -> asyncio.Future[EditAck]:
        """The future of an edit's answer; one with a walk is answered when that is over."""
        future: asyncio.Future[EditAck] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_log_refusal)
        self._edits[edit_id] = future
        if walk is not None:
            walk.edit_id = edit_id
            self._walks[edit_id] = walk
        return future

    def restart_walks(self) -> None:
        """Walks that are not over begin anew at another server."""
        for walk in self._walks.values():
            walk.steps.clear()

    def end(self, error: KinemaskError) -> None:
        """Nothing more comes."""
        for future in self._edits.values():
            if not future.done():
                future.set_exception(error)
        self._edits.clear()

    def take(self, message: Any) -> None:
        """A result, an error, a skipped range, an edit's answer or a step of a walk.

        Raises:
            ProtocolError: anything else, or out of turn.
        """
        kind = message.WhichOneof("message")
        if kind == "result":
            if self._ledger.answer(message.result.frame_id) is not None:
                self._answer(self._kind.result(message.result))
        elif kind == "error":
            if (entry := self._ledger.answer(message.error.frame_id)) is not None:
                error = self._reason(message.error.status)
                self._answer(self._failed(entry, error, skipped=False))
        elif kind == "skipped":
            self._skip(message.skipped)
        elif kind == "edit":
            self._take_edit(message.edit)
        elif kind == "propagated":
            self._take_walk(message.propagated)
        else:
            raise ProtocolError(f"expected an answer, found {kind}")
        self.tell_dropped()

    def tell_dropped(self) -> None:
        """Answer the frames that were never sent and whose turn it is."""
        for entry in self._ledger.take_dropped():
            self._drop(entry)

    def _answer(self, answer: AnswerT) -> None:
        self.news += 1
        self.answers.append(answer)

    def _skip(self, run: Any) -> None:
        error = self._reason(run.status)
        for entry in self._ledger.skip(run.first_frame_id, run.last_frame_id):
            if entry.state is State.DROPPED:
                self._drop(entry)
            else:
                self._answer(self._failed(entry, error, skipped=True))

    def _drop(self, entry: FrameEntry) -> None:
        error = _drop_reason(self._ledger.policy)
        self.answers.append(self._failed(entry, error, skipped=True))

    def _reason(self, status: Any) -> KinemaskError:
        return failure(status, self._request_id) or InternalError("no reason was given")

    def _failed(self, entry: FrameEntry, error: KinemaskError, *, skipped: bool) -> AnswerT:
        return self._kind.failed(
            frame_id=entry.frame_id,
            capture_time_us=entry.capture_time_us,
            error=error,
            skipped=skipped,
        )

    def _take_edit(self, result: Any) -> None:
        error = failure(result.status, self._request_id)
        if error is None and result.edit_id in self._walks and result.edit_id in self._edits:
            return  # answered when its walk is over
        self._settle(result.edit_id, result.frame_id, result.object_id, error)

    def _take_walk(self, step: Any) -> None:
        error = failure(step.status, self._request_id)
        walk = self._walks.get(step.edit_id)
        if walk is None:
            return  # of another connection; its caller was answered
        if error is None and step.HasField("result"):
            walk.steps.append(self._kind.result(step.result))
        if error is not None and error.reason == "STOPPED":
            walk.stopped, error = True, None
        if error is not None or step.last:
            self._settle(step.edit_id, step.result.frame_id, 0, error)

    def _settle(
        self, edit_id: int, frame_id: int, object_id: int, error: KinemaskError | None
    ) -> None:
        # A walk leaves nothing in the state: it is not sent again.
        walk = self._walks.pop(edit_id, None)
        lasts = error is None and walk is None
        if not self._ledger.settle_edit(edit_id, frame_id, applied=lasts):
            return
        future = self._edits.pop(edit_id)
        if future.done():
            return  # its caller has cancelled it
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(EditAck(edit_id, frame_id, object_id))


def _drop_reason(policy: PolicyName) -> KinemaskError:
    if policy == "reject":
        info = ErrorInfo(reason="WINDOW_EXCEEDED")
        return ResourceExhaustedError("too many frames wait to be sent", info=info)
    info = ErrorInfo(reason="FRAME_DROPPED")
    return AbortedError("newer frames came before it could be sent", info=info)


def _log_refusal(future: asyncio.Future[EditAck]) -> None:
    """Nobody need look at an edit's answer; a refusal is logged in any case."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, StreamClosedError):
        _log.warning("an edit was refused: %s", error)
