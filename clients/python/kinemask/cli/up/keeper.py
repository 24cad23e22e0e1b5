"""One process of a service, started again whenever it ends unasked."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinemask.cli.up.health import HealthProbe
from kinemask.cli.up.logs import LogLine, LogSink

_CHILD = Path(__file__).with_name("child.py")
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
# One that ran this long was well: its next end counts as the first.
_WELL_AFTER_S = 60.0
_POLL_S = 0.05
_HEAR_EVERY_S = 0.25
_TAIL_LINES = 30
# A grandchild may hold the output open for ever.
_LAST_LINES_WITHIN_S = 1.0


class StackError(Exception):
    """The services could not be started; the message says what a person can do."""


@dataclass(frozen=True)
class Replica:
    """What one process is to be."""

    service: str
    """The service's name."""
    source: str
    """Its name in the log: `segmenter`, or `segmenter.2`."""
    module: str
    """What `python -m` would take."""
    address: str
    """`host:port` where it can be asked from this machine."""
    environment: Mapping[str, str]
    """All of its environment."""
    metrics_port: int | None = None
    """Where it serves Prometheus metrics, if it does."""


class Keeper:
    """Keeps one replica running.

    Invariants: there is at most one process at a time, and none begins after `leave` or `kill`.
    A process that ends before the first `wait_ready` succeeded is not started again.
    """

    def __init__(self, replica: Replica, sink: LogSink, first_delay_s: float = _FIRST_DELAY_S):
        self.replica = replica
        self.restarts = 0
        """How often it was started again."""
        self._sink = sink
        self._first_delay_s = first_delay_s
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._over = threading.Event()
        self._was_ready = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=replica.source, daemon=True)

    @property
    def pid(self) -> int | None:
        """The process now running; None between two."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def wait_ready(self, deadline_s: float) -> None:
        """Wait until the replica says SERVING. `deadline_s` is of `time.monotonic()`.

        Raises:
            StackError: it ended, or did not get ready in time; with the end of its log.
        """
        with HealthProbe(self.replica.address) as probe:
            while not probe.is_serving():
                if self._over.wait(_POLL_S):
                    raise StackError(self._complaint("ended while it started"))
                if time.monotonic() > deadline_s:
                    raise StackError(self._complaint("was not ready in time"))
        self._was_ready = True

    def leave(self) -> None:
        """Ask the process to end its work and leave, and start no other."""
        self._signal("terminate")

    def kill(self) -> None:
        """End the process at once, and start no other."""
        self._signal("kill")

    def wait_gone(self, timeout_s: float) -> bool:
        """True once the process has ended and its last lines were passed on."""
        # Not join: interrupted by Ctrl-C, it may take a running thread for one that ended.
        return self._thread.ident is None or wait_alert(self._over, timeout_s)

    def _signal(self, way: str) -> None:
        with self._lock:
            self._leaving.set()
            if self._process is not None:
                getattr(self._process, way)()

    def _keep(self) -> None:
        try:
            self._run()
        finally:
            self._over.set()

    def _run(self) -> None:
        delay_s = self._first_delay_s
        while (process := self._spawn()) is not None:
            began_s = time.monotonic()
            code = self._follow(process)
            if not self._goes_on(code):
                break
            if time.monotonic() - began_s > _WELL_AFTER_S:
                delay_s = self._first_delay_s
            self._notice(f"{_ending(code)}; starts again in {delay_s:g} s")
            if self._leaving.wait(delay_s):
                break
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            self.restarts += 1

    def _goes_on(self, code: int) -> bool:
        if self._leaving.is_set():
            self._notice("stopped" if code == 0 else _ending(code))
            return False
        if not self._was_ready:
            self._notice(_ending(code))
            return False
        return True

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._leaving.is_set():
                return None
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD), self.replica.module],
                env=dict(self.replica.environment),
                stdin=subprocess.PIPE,  # held open as a sign of life: see child.py
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A terminal sends Ctrl-C to its whole group, but who leaves when is decided here.
                start_new_session=True,
            )
        self._notice(f"starts on {self.replica.address}, process {self._process.pid}")
        return self._process

    def _follow(self, process: subprocess.Popen[bytes]) -> int:
        """Pass its lines on until it ends; its exit code."""
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        code = process.wait()
        reader.join(_LAST_LINES_WITHIN_S)
        if process.stdin is not None:
            process.stdin.close()
        return code

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                self._tail.append(text)
                self._sink(LogLine(self.replica.service, self.replica.source, text))

    def _notice(self, text: str) -> None:
        self._sink(LogLine(self.replica.service, self.replica.source, text, is_notice=True))

    def _complaint(self, what: str) -> str:
        said = "\n".join(f"  {line}" for line in self._tail) or "  (nothing)"
        return f"{self.replica.source} {what}. The end of what it said:\n{said}"


def wait_alert(event: threading.Event, timeout_s: float = float("inf")) -> bool:
    """`event.wait`, but Ctrl-C is always heard.

    A signal that comes just before a wait begins does not end it: Python acts on signals between
    its own steps, and the system has nothing left to interrupt. So no wait is long.
    """
    until_s = time.monotonic() + timeout_s
    while not event.wait(min(_HEAR_EVERY_S, max(until_s - time.monotonic(), 0.0))):
        if time.monotonic() >= until_s:
            return False
    return True


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
