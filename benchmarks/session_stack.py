"""A gateway with an embedded PostgreSQL and two segmenters, to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.harness import free_port, wait_serving

_SEGMENTERS = 2


class SessionStack:
    """Processes of their own, at addresses that stay; entered, all of them serve.

    Use from one thread.
    """

    def __init__(self, folder: Path) -> None:
        """Data lives in `folder`."""
        self._folder = folder / "data"
        self._ports = [free_port() for _ in range(_SEGMENTERS + 1)]
        self._gateway: subprocess.Popen[bytes] | None = None
        self._segmenters: dict[int, subprocess.Popen[bytes]] = {}
        self._spent_s: dict[int, float] = {}
        self.killed = 0
        """Segmenters that were killed one by one."""

    @property
    def address(self) -> str:
        """The gateway's."""
        return f"127.0.0.1:{self._ports[-1]}"

    def __enter__(self) -> Self:
        self.start_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gateway is not None:
            # Not killed: it stops the database that it has started.
            self._gateway.terminate()
            self._gateway.wait(60)
        self._kill(self._segmenters.values())

    def start_all(self) -> None:
        """Start what does not run."""
        self.start_segmenter()
        if self._gateway is None:
            addresses = ",".join(f"127.0.0.1:{port}" for port in self._ports[:-1])
            told = {
                "KINEMASK_SEGMENTER_ADDRESSES": addresses,
                "KINEMASK_DATA_DIR": str(self._folder),
                "KINEMASK_LIBRARY": "on",
            }
            self._gateway = _started("kinemask_gateway", self._ports[-1], told)

    def start_segmenter(self) -> None:
        """Start the segmenters that do not run."""
        for port in self._ports[:-1]:
            if port not in self._segmenters:
                self._segmenters[port] = _started("kinemask_segmenter", port, {})
        self._spent_s = {port: _spent_s(one) for port, one in self._segmenters.items()}

    def kill_segmenter(self) -> None:
        """SIGKILL to the one that has worked most since they were started last."""
        busiest = max(
            self._segmenters,
            key=lambda port: _spent_s(self._segmenters[port]) - self._spent_s[port],
        )
        self._kill([self._segmenters.pop(busiest)])
        self.killed += 1

    def kill_all(self) -> None:
        """SIGKILL to everything at once, the database with all its processes too."""
        assert self._gateway is not None  # it is started before
        doomed = [self._gateway, *self._segmenters.values()]
        (told,) = self._folder.rglob("postmaster.pid")
        postgres = psutil.Process(int(told.read_text().split()[0]))
        everyone = [postgres, *postgres.children(recursive=True)]
        for pid in (*(one.pid for one in doomed), *(one.pid for one in everyone)):
            os.kill(pid, signal.SIGKILL)
        self._kill(doomed)
        psutil.wait_procs(everyone, timeout=20)
        self._gateway = None
        self._segmenters.clear()

    @staticmethod
    def _kill(processes: Iterable[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
            process.wait()


def _started(module: str, port: int, told: dict[str, str]) -> subprocess.Popen[bytes]:
    settings = {"KINEMASK_PORT": str(port), "KINEMASK_LOG_LEVEL": "error", **told}
    process = subprocess.Popen([sys.executable, "-m", module], env={**os.environ, **settings})
    wait_serving(f"127.0.0.1:{port}", process)
    return process


def _spent_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
