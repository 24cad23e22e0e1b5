"""What belongs to the rpc that is being served now: its request id and its deadline.

Both live in context variables, so they follow a handler into the tasks it starts.
"""

from __future__ import annotations

import time
import uuid
from contextvars import ContextVar

REQUEST_ID_KEY = "x-request-id"
"""The metadata key that carries the request id, in both directions."""
MAX_REQUEST_ID_CHARS = 128

_request_id: ContextVar[str] = ContextVar("kinemask_request_id", default="")
_deadline_s: ContextVar[float | None] = ContextVar("kinemask_deadline_s", default=None)


def request_id() -> str:
    """The id of the rpc being served, or an empty string outside of one."""
    return _request_id.get()


def set_request_id(value: str) -> None:
    """Bind the id to this task and those it starts."""
    _request_id.set(value)


def accepted_request_id(offered: str | bytes | None) -> str:
    """`offered` if it is 1 to 128 printable ASCII characters, no spaces; else a new uuid4 hex."""
    text = offered.decode("ascii", "replace") if isinstance(offered, bytes) else offered
    if text and len(text) <= MAX_REQUEST_ID_CHARS and all("!" <= char <= "~" for char in text):
        return text
    return uuid.uuid4().hex


def deadline_s() -> float | None:
    """When the rpc being served expires, on the clock of `time.monotonic()`; None: never."""
    return _deadline_s.get()


def set_deadline_s(value: float | None) -> None:
    """Bind the deadline to this task and those it starts."""
    _deadline_s.set(value)


def remaining_s() -> float | None:
    """Seconds until the deadline, negative once it has passed; None without a deadline."""
    deadline = _deadline_s.get()
    return None if deadline is None else deadline - time.monotonic()
