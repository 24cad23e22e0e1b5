"""Single calls: what they are called with, and when they may be tried again."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from kinemask.client import _channel
from kinemask.config import TlsConfig
from kinemask.errors import KinemaskError, UnavailableError

ResultT = TypeVar("ResultT")

REQUEST_ID_KEY = "x-request-id"
Metadata = tuple[tuple[str, str], ...]

_MAX_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True)
class Operation(Generic[ResultT]):
    """One read-only call: where it goes, what it sends, what its answer becomes."""

    stub: Callable[[Any], Any]
    """The generated stub's class, taken with a channel."""
    method: str
    request: Message
    decode: Callable[[Any, str], ResultT]
    """From the response and the request id."""


@dataclass(frozen=True)
class Settings:
    """What a client was made with."""

    target: _channel.Target
    timeout_s: float | None = 30.0
    tls: TlsConfig | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    jpeg_quality: int | None = 90

    def call_metadata(self, request_id: str) -> Metadata:
        return (*self.metadata.items(), (REQUEST_ID_KEY, request_id))

    def new_request_id(self, given: str | None = None) -> str:
        """The call's own, the client's, or a fresh one."""
        return given or self.request_id or uuid.uuid4().hex

    def credentials(self) -> grpc.ChannelCredentials | None:
        return None if self.tls is None else _channel.credentials(self.tls)

    def options(self) -> Sequence[tuple[str, str | int]]:
        return _channel.channel_options(self.target, self.tls)


class Attempts:
    """The tries of one call. Only UNAVAILABLE is tried again: the call did no work then."""

    def __init__(self, timeout_s: float | None) -> None:
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._made = 0

    def timeout_s(self) -> float | None:
        """What is left for the next try."""
        if self._deadline_s is None:
            return None
        return max(self._deadline_s - time.monotonic(), 0.0)

    def pause_s(self, error: KinemaskError) -> float | None:
        """Seconds until the next try, or None: `error` is final."""
        self._made += 1
        if not isinstance(error, UnavailableError) or self._made >= _MAX_ATTEMPTS:
            return None
        wanted_s = min(_FIRST_PAUSE_S * 2.0 ** (self._made - 1), _LONGEST_PAUSE_S)
        pause_s = max(wanted_s * random.uniform(0.75, 1.25), error.retry_after_s or 0.0)
        left_s = self.timeout_s()
        return None if left_s is not None and pause_s >= left_s else pause_s
