"""What a stream's caller handed over, what was answered, what may have to be sent again.

Pure bookkeeping, without I/O or time. A stream outlives its connections: on each one the entries
of the outbox are written in order; when a connection is lost, `restart` fills the outbox again
with everything that the state the stream goes on from has not seen.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from google.protobuf.message import Message

from kinemask.config import PolicyName

_UNTOLD_MARGIN = 64
"""Under LATEST and REJECT frames may be unanswered beyond the window until the server has said
which it dropped; so many, and then they wait here."""


MAX_UNANSWERED_EDITS = 256
"""As many as a server holds."""


class State(enum.Enum):
    WAITING = "waiting"
    """Not written on this connection."""
    SENT = "sent"
    ANSWERED = "answered"
    """Kept only for the case that the connection is lost."""
    DROPPED = "dropped"
    """Never sent: newer frames came, or there was no room."""


@dataclass(eq=False)
class FrameEntry:
    """One frame."""

    frame_id: int
    capture_time_us: int
    request: Message
    state: State = State.WAITING
    was_sent: bool = False
    """On any connection."""


@dataclass(eq=False)
class EditEntry:
    """One edit."""

    edit_id: int
    frame_id: int | None
    """The frame it names."""
    request: Message
    state: State = State.WAITING
    in_state_from: int = -1
    """Once answered: every snapshot of this frame or a later one has seen it."""


class ProtocolError(Exception):
    """The server broke the stream contract."""


class Ledger:
    """The frames and edits of one stream.

    Invariants: `_untold` holds every frame whose caller has no answer, in frame order; `_log`
    everything that a restart would have to send, in the order it was handed over; `_outbox` what
    this connection has yet to write and `_sent` the frames it wrote and that are unanswered, both
    in the order of `_log`. Under BLOCK `_untold` holds at most `window` frames. Under the others
    `take_dropped` follows every `add_frame`, `answer` and `skip`: what is first in `_untold` then
    is a frame that the server is to answer.
    """

    def __init__(self, policy: PolicyName, keep_frames: int) -> None:
        """`keep_frames`: answered frames kept for a restart; 0 keeps none."""
        self.policy = policy
        self.window = 1
        self.token = b""
        """What a restart goes on from."""
        self.token_frame_id = -1
        self.last_frame_id = -1
        """The last one handed over."""
        self._keep_frames = keep_frames
        self._untold: deque[FrameEntry] = deque()
        self._log: deque[FrameEntry | EditEntry] = deque()
        self._outbox: deque[FrameEntry | EditEntry] = deque()
        self._sent: deque[FrameEntry] = deque()
        self._edits: dict[int, EditEntry] = {}
        self._forgotten_up_to = -1

    @property
    def untold(self) -> int:
        """Frames whose caller has no answer yet."""
        return len(self._untold)

    @property
    def unanswered_edits(self) -> int:
        """Edits whose caller has no answer yet."""
        return len(self._edits)

    @property
    def has_room(self) -> bool:
        """Under BLOCK: true if another frame may be handed over."""
        return self.policy != "block" or len(self._untold) < self.window

    @property
    def idle(self) -> bool:
        """True if nothing is left to write."""
        return not self._outbox

    @property
    def restartable(self) -> bool:
        """True if everything that `token` has not seen is still here."""
        return self._forgotten_up_to <= self.token_frame_id

    # --- handing over

    def add_frame(self, entry: FrameEntry) -> None:
        """Take a frame; ids increase strictly. Under BLOCK only while `has_room`."""
        self.last_frame_id = entry.frame_id
        self._untold.append(entry)
        fresh = [e for e in self._outbox if isinstance(e, FrameEntry) and not e.was_sent]
        if len(fresh) < self.window or self.policy == "block":
            self._put(entry)
        elif self.policy == "reject":
            _drop(entry)
        else:
            self._outbox.remove(fresh[0])
            self._log.remove(fresh[0])
            _drop(fresh[0])
            self._put(entry)

    def add_edit(self, entry: EditEntry) -> None:
        """Take an edit; it is written after what was handed over before it."""
        self._edits[entry.edit_id] = entry
        self._put(entry)

    def _put(self, entry: FrameEntry | EditEntry) -> None:
        self._log.append(entry)
        self._outbox.append(entry)

    # --- writing

    @property
    def can_write(self) -> bool:
        """True if `take_to_write` has something to give."""
        if not self._outbox:
            return False
        head = self._outbox[0]
        return isinstance(head, EditEntry) or len(self._sent) < self._may_be_sent(head)

    def _may_be_sent(self, head: FrameEntry) -> int:
        # What is sent again must not be dropped by the server for lack of room.
        again = head.was_sent or self.policy == "block"
        return self.window if again else self.window + _UNTOLD_MARGIN

    def take_to_write(self) -> FrameEntry | EditEntry:
        """The next entry of this connection; it counts as sent from now on."""
        entry = self._outbox.popleft()
        entry.state = State.SENT
        if isinstance(entry, FrameEntry):
            entry.was_sent = True
            self._sent.append(entry)
        return entry

    # --- answers

    def answer(self, frame_id: int) -> FrameEntry | None:
        """A result or error came. Returns the frame, or None if its caller has an answer already.

        Raises:
            ProtocolError: another frame's answer was due.
        """
        if not self._sent or self._sent[0].frame_id != frame_id:
            due = self._sent[0].frame_id if self._sent else "none"
            raise ProtocolError(f"expected the answer to frame {due}, found one to {frame_id}")
        entry = self._sent.popleft()
        entry.state = State.ANSWERED
        fresh = self._tell(entry)
        self._forget_surplus()
        return entry if fresh else None

    def skip(self, first_frame_id: int, last_frame_id: int) -> list[FrameEntry]:
        """The server dropped a range. Returns its frames whose callers have no answer yet.

        The server does not see the gaps that frames leave which were dropped before they were
        sent: these are returned too, in their places; their state is DROPPED.

        Raises:
            ProtocolError: the range is not what was due.
        """
        if not self._sent or not first_frame_id <= self._sent[0].frame_id <= last_frame_id:
            due = self._sent[0].frame_id if self._sent else "none"
            raise ProtocolError(
                f"expected the answer to frame {due}, "
                f"found frames {first_frame_id} to {last_frame_id} skipped"
            )
        skipped = []
        while self._sent and self._sent[0].frame_id <= last_frame_id:
            entry = self._sent.popleft()
            self._log.remove(entry)  # the state has not seen it: nothing is lost with it
            skipped += self.take_dropped()  # those between this one and the one before
            if self._tell(entry):
                skipped.append(entry)
        return skipped

    def take_dropped(self) -> list[FrameEntry]:
        """Frames that were never sent and whose turn to be told it is."""
        dropped = []
        while self._untold and self._untold[0].state is State.DROPPED:
            dropped.append(self._untold.popleft())
        return dropped

    def _tell(self, entry: FrameEntry) -> bool:
        """False if its caller was told already, on an earlier connection."""
        if not self._untold or entry.frame_id < self._untold[0].frame_id:
            return False
        told = self._untold.popleft()
        assert told is entry, f"frame {told.frame_id} would never be told"
        return True

    def settle_edit(self, edit_id: int, frame_id: int, applied: bool) -> bool:
        """An edit was answered. Returns true if that is news to its caller."""
        entry = self._edits.pop(edit_id, None)
        found = entry or next((e for e in self._log if _is_edit(e, edit_id)), None)
        if not isinstance(found, EditEntry):
            raise ProtocolError(f"expected the answer to an edit that was sent, found {edit_id}")
        found.state = State.ANSWERED
        # One that named no frame landed where the answer says. One that did may have landed
        # later than its frame: it is certain only for frames sent from now on.
        sent_up_to = self._sent[-1].frame_id if self._sent else self._last_answered()
        found.in_state_from = frame_id if found.frame_id is None else sent_up_to + 1
        if not applied:
            self._log.remove(found)
        self._forget_surplus()
        return entry is not None

    def _last_answered(self) -> int:
        waiting = next((e for e in self._outbox if isinstance(e, FrameEntry)), None)
        return self.last_frame_id if waiting is None else waiting.frame_id - 1

    def _forget_surplus(self) -> None:
        if self._keep_frames:
            answered = sum(e.state is State.ANSWERED for e in self._log)
            if answered <= self._keep_frames + 2 * self.window + MAX_UNANSWERED_EDITS:
                return
        kept: deque[FrameEntry | EditEntry] = deque()
        for entry in self._log:
            if entry.state is State.ANSWERED:
                self._forgotten_up_to = max(self._forgotten_up_to, _in_state_from(entry))
            else:
                kept.append(entry)
        self._log = kept

    # --- going on elsewhere

    def snapshot(self, frame_id: int, token: bytes) -> None:
        """The state after a frame is at hand: what it has seen need not be sent again."""
        self.token, self.token_frame_id = token, frame_id
        self._log = deque(
            e for e in self._log if e.state is not State.ANSWERED or _in_state_from(e) > frame_id
        )

    def go_away(self, token: bytes, last_frame_id: int | None) -> None:
        """The server leaves; its token has seen everything that it has answered."""
        self.token = token
        self.token_frame_id = -1 if last_frame_id is None else last_frame_id
        self._log = deque(e for e in self._log if e.state is not State.ANSWERED)
        self._forgotten_up_to = self.token_frame_id

    def restart(self) -> int:
        """Fill the outbox for a new connection; returns how many frames are sent again."""
        self._outbox = deque(self._log)
        self._sent.clear()
        for entry in self._outbox:
            entry.state = State.WAITING
        return sum(isinstance(e, FrameEntry) and e.was_sent for e in self._outbox)


def _drop(entry: FrameEntry) -> None:
    """It will not be sent; its picture goes, for its caller may have to wait for the answer."""
    entry.state = State.DROPPED
    entry.request.Clear()


def _is_edit(entry: FrameEntry | EditEntry, edit_id: int) -> bool:
    return isinstance(entry, EditEntry) and entry.edit_id == edit_id


def _in_state_from(entry: FrameEntry | EditEntry) -> int:
    """The first frame whose snapshot has seen the entry."""
    return entry.frame_id if isinstance(entry, FrameEntry) else entry.in_state_from
