"""`kinemask up` as a process: what it says, how it leaves, what outlives it (nothing)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from kinemask.cli.up import StackError
from kinemask.cli.up import command as up_command
from kinemask.cli.up.plan import NOT_INHERITED

from tests.cli.conftest import ROOT, WITHIN_S, assert_all_gone

Up = subprocess.Popen[str]
StartUp = Callable[..., Up]


@pytest.fixture
def start_up() -> Iterator[StartUp]:
    begun: list[Up] = []

    def start(**environment: str) -> Up:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.run_up"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _until(process: Up, part: str) -> list[str]:
    """The lines up to the first that has `part`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if part in line:
            return lines
    raise AssertionError(f"{part!r} never came:\n" + "\n".join(lines))


def _process_ids(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r"process (\d+)$", line))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_everything_and_exits_0(start_up: StartUp, number: signal.Signals) -> None:
    process = start_up()
    lines = _until(process, "ready on")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, rest
    assert rest.splitlines()[-1] == "kinemask    | stopped"
    assert len(_process_ids(lines)) == 3
    assert_all_gone(_process_ids(lines))


def test_it_says_which_engines_run_and_why(start_up: StartUp) -> None:
    process = start_up()
    lines = _until(process, "ready on")
    own = [line.partition("| ")[2] for line in lines if line.startswith("kinemask ")]
    assert own[0] == "segmenter  flow (builtin)  not better: no weights; fetch them"
    assert re.fullmatch(r"ready on 127\.0\.0\.1:\d+", own[1])


def test_a_second_signal_kills_what_does_not_leave(start_up: StartUp) -> None:
    process = start_up(FAKE_STUBBORN="1")
    lines = _until(process, "ready on")
    process.send_signal(signal.SIGINT)
    _until(process, "I stay")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130, rest
    assert_all_gone(_process_ids(lines))


def test_a_signal_while_services_start_exits_0(start_up: StartUp) -> None:
    process = start_up(FAKE_NEVER_READY="1")
    lines = _until(process, "listening")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, rest
    assert_all_gone(_process_ids([*lines, *rest.splitlines()]))


def test_the_services_do_not_outlive_a_killed_parent(start_up: StartUp) -> None:
    process = start_up()
    lines = _until(process, "ready on")
    process.kill()
    process.wait(WITHIN_S)
    assert_all_gone(_process_ids(lines))


def test_even_one_that_ignores_sigterm_does_not_outlive_a_killed_parent(start_up: StartUp) -> None:
    process = start_up(FAKE_STUBBORN="1")
    lines = _until(process, "ready on")
    process.kill()
    process.wait(WITHIN_S)
    assert_all_gone(_process_ids(lines))


@pytest.mark.parametrize(
    ("pairs", "counts"),
    [
        pytest.param([], {}, id="none"),
        pytest.param(["segmenter=2"], {"segmenter": 2}, id="one"),
        pytest.param(["segmenter=2", "detector=3"], {"segmenter": 2, "detector": 3}, id="several"),
        pytest.param(["segmenter=2", "segmenter=4"], {"segmenter": 4}, id="the last holds"),
    ],
)
def test_replicas_are_read_as_service_and_number(pairs: list[str], counts: dict[str, int]) -> None:
    assert up_command.parse_replicas(pairs) == counts


@pytest.mark.parametrize("pair", ["segmenter", "segmenter=", "=2", "segmenter=two", "segmenter=-1"])
def test_replicas_of_another_form_are_refused_with_an_example(pair: str) -> None:
    with pytest.raises(StackError, match="expected SERVICE=N, such as segmenter=2"):
        up_command.parse_replicas([pair])


def test_it_names_what_is_missing_and_what_it_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOT_INHERITED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KINEMASK_PORT", "1")
    monkeypatch.setattr(up_command, "installed_services", lambda: ("gateway", "segmenter"))
    missing, ignored = up_command.left_out(None)
    assert missing.endswith("not started: detector, tracker, faces, captioner")
    assert ignored.endswith("KINEMASK_PORT")
    assert up_command.left_out(["gateway"]) == [ignored]
