"""A service as a process of its own: signals, exit codes, what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.chassis.echo_service import ECHO

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts echo services; those still alive at the end are killed."""
    begun: list[Process] = []

    def launch(*arguments: str, **environment: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chassis.echo_service", *arguments],
            cwd=ROOT,
            env=os.environ | {"KINEMASK_PORT": "0", "KINEMASK_LOG_FORMAT": "json"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield launch
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _until(process: Process, event: str) -> dict[str, Any]:
    """Read the log up to this event."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and (entry := json.loads(line))["event"] == event:
            return dict(entry)
    raise AssertionError(f"the process ended without saying {event}: {process.wait()}")


def _port(process: Process) -> int:
    return int(_until(process, "listening")["port"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_traffic_drains_and_exits_0(start: Start, number: signal.Signals) -> None:
    process = start()
    with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=ECHO))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stream: Any = channel.stream_stream(f"/{ECHO}/Both")
        answers = stream(_texts_without_end())
        assert StringValue.FromString(next(answers)).value == "a"

        process.send_signal(number)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert "go away" in {StringValue.FromString(answer).value for answer in answers}
        assert process.wait(timeout=30) == 0
    assert [_until(process, e)["event"] for e in ("draining", "stopped")]


def _texts_without_end() -> Iterator[bytes]:
    while True:
        yield StringValue(value="a").SerializeToString()


def test_a_call_that_never_ends_does_not_outlive_the_grace(start: Start) -> None:
    process = start(KINEMASK_DRAIN_GRACE_S="0.2")
    with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
        call: Any = channel.unary_unary(f"/{ECHO}/Unary")
        stuck = call.future(StringValue(value="forever").SerializeToString())
        _wait_until_serving_calls(channel)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert stuck.exception() is not None


def test_a_second_signal_ends_the_process_at_once(start: Start) -> None:
    process = start(KINEMASK_DRAIN_GRACE_S="600")
    with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
        call: Any = channel.unary_unary(f"/{ECHO}/Unary")
        call.future(StringValue(value="forever").SerializeToString())
        _wait_until_serving_calls(channel)
        process.send_signal(signal.SIGTERM)
        _until(process, "draining")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM


def _wait_until_serving_calls(channel: grpc.Channel) -> None:
    """Calls of one connection begin in order: once this one ends, those before it have begun."""
    call: Any = channel.unary_unary(f"/{ECHO}/Unary")
    call(StringValue(value="hello").SerializeToString())


def test_log_lines_carry_the_request_id(start: Start) -> None:
    process = start()
    with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
        call: Any = channel.unary_unary(f"/{ECHO}/Unary")
        message = StringValue(value="hello").SerializeToString()
        call(message, metadata=(("x-request-id", "trace-1"),))
        line = _until(process, "rpc")
    assert line["request_id"] == "trace-1"
    assert (line["service"], line["code"], line["method"]) == ("echo", "OK", f"/{ECHO}/Unary")


def test_a_taken_port_exits_1_and_says_so(start: Start) -> None:
    port = _port(start())
    rival = start(KINEMASK_PORT=str(port))
    assert f"127.0.0.1:{port}" in _until(rival, "cannot_start")["why"]
    assert rival.wait(timeout=30) == 1


def test_a_failed_warm_up_exits_1_and_says_why(start: Start) -> None:
    process = start(KINEMASK_TEST_WARM_UP="fail")
    assert _until(process, "warm_up_failed")["why"] == "the weights are not there"
    assert process.wait(timeout=30) == 1


def test_a_signal_during_the_warm_up_exits_0(start: Start) -> None:
    process = start(KINEMASK_TEST_WARM_UP="forever")
    _until(process, "warming_up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_a_bad_environment_exits_2_with_a_line_per_variable(start: Start) -> None:
    process = start(KINEMASK_PORT="99999", KINEMASK_LOG_LEVEL="loud")
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    lines = complaint.splitlines()
    assert [line.split("=")[0] for line in lines] == ["KINEMASK_PORT", "KINEMASK_LOG_LEVEL"]
    assert "65535" in lines[0] and "'99999'" in lines[0]


def test_help_shows_every_setting(start: Start) -> None:
    process = start("--help")
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "KINEMASK_DRAIN_GRACE_S" in text and "SIGTERM" in text
