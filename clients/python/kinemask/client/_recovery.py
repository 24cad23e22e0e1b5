"""When a stream that lost its server tries again, and when it gives up."""

from __future__ import annotations

import random
import time

from kinemask.errors import (
    KinemaskError,
    RequestCancelledError,
    ResourceExhaustedError,
    UnavailableError,
)

OPEN_TIMEOUT_S = 2.0
"""How long a stream that never ran looks for a server."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_MAX_FRUITLESS = 5
"""Servers that took the stream and answered nothing new: then a frame of it is to blame."""

_LONG_S = 5.0
"""A stream that ran so long was not brought down by what it was opened with."""


class Recovery:
    """Attempts since the last progress."""

    def __init__(self, resume_timeout_s: float) -> None:
        self._resume_timeout_s = resume_timeout_s
        self._ever_ran = False
        self._opened_s = time.monotonic()
        self._begun_s: float | None = None
        """When the search for a server began; None while one serves."""
        self._attempts = 0
        self._fruitless = 0

    def opened(self) -> None:
        """A server took the stream: the search is over."""
        self._ever_ran = True
        self._opened_s = time.monotonic()
        self._begun_s, self._attempts = None, 0
        self._fruitless += 1

    @property
    def was_running(self) -> bool:
        """True if the last attempt came to run, rather than being refused."""
        return self._ever_ran and self._attempts <= 1

    def progressed(self) -> None:
        """A frame got its answer."""
        self._fruitless = 0

    def pause_s(self, error: KinemaskError | None) -> float | None:
        """Seconds until the next attempt, or None to give up. `error` is None after a go_away."""
        if error is not None and not self._worth_another(error):
            return None
        now_s = time.monotonic()
        if now_s - self._opened_s > _LONG_S:
            self._fruitless = 0
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        self._attempts += 1
        if self._attempts == 1 and error is None:
            return 0.0
        wanted_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._attempts, 10), _LONGEST_PAUSE_S)
        pause_s = wanted_s * random.uniform(0.75, 1.25)
        if error is not None and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        limit_s = self._resume_timeout_s if self._ever_ran else OPEN_TIMEOUT_S
        over = now_s + pause_s - self._begun_s > limit_s or self._fruitless > _MAX_FRUITLESS
        return None if over else pause_s

    def _worth_another(self, error: KinemaskError) -> bool:
        # A server that is killed cancels its rpcs; the client's own cancel never gets here.
        gone = isinstance(error, (UnavailableError, RequestCancelledError))
        full = isinstance(error, ResourceExhaustedError) and error.reason == "NO_FREE_STREAM"
        return gone or (full and self._ever_ran)
