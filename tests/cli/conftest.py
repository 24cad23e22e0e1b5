"""Fake services for stacks, and what they leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from kinemask.cli.up import LogLine, Stack

ROOT = Path(__file__).parents[2]
FAKE = "tests.cli.fake_service"
WITHIN_S = 30.0


@dataclass
class Journal:
    """Collects what a stack logs, and waits for lines."""

    lines: list[LogLine] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, line: LogLine) -> None:
        with self._news:
            self.lines.append(line)
            self._news.notify_all()

    def texts(self, source: str) -> list[str]:
        return [line.text for line in self.lines if line.source == source]

    def wait_for(self, source: str, part: str, times: int = 1) -> None:
        """Until `part` stood in that many of a source's lines."""

        def enough() -> bool:
            return sum(part in text for text in self.texts(source)) >= times

        with self._news:
            assert self._news.wait_for(enough, WITHIN_S), f"{part!r} not in {self.texts(source)}"


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def make_stack(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stack]:
    """Stacks of fake services; FAKE_... variables go by keyword."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")

    def make(services: list[str], replicas: dict[str, int] | None = None, **fakes: str) -> Stack:
        return Stack(
            services,
            replicas=replicas,
            modules=dict.fromkeys(services, FAKE),
            environment=fakes,
            log=journal,
            start_timeout_s=WITHIN_S,
        )

    return make


def assert_all_gone(process_ids: list[int]) -> None:
    """Wait until none of these runs; one that ended and was not collected is gone too."""
    assert process_ids
    processes = [psutil.Process(number) for number in process_ids if psutil.pid_exists(number)]
    alive = [p for p in processes if p.status() != psutil.STATUS_ZOMBIE]
    _, left = psutil.wait_procs(alive, timeout=WITHIN_S)
    assert [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
