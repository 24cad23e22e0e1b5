"""What a stack would start, its ports, and its log's look; nothing runs here."""

from __future__ import annotations

import io
import socket

import pytest
from kinemask.cli.up import LogLine, LogPrinter, StackError
from kinemask.cli.up.plan import NOT_INHERITED, Plan
from kinemask.cli.up.ports import free_ports, is_free

from tests.cli.conftest import FAKE

MODULES = {"segmenter": FAKE, "gateway": FAKE}


def _plan(**changes: object) -> Plan:
    return Plan(**{"services": ["segmenter", "gateway"], "modules": MODULES, **changes})  # type: ignore[arg-type]  # rows differ in their fields


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"services": []}, "no service to start", id="nothing"),
        pytest.param({"services": ["segmentor"]}, "there are: gateway, detector", id="unknown"),
        pytest.param({"replicas": {"x": 2}}, "no such service: x", id="replicas of unknown"),
        pytest.param({"replicas": {"segmenter": 0}}, "expected 1 to 64, got 0", id="zero"),
        pytest.param({"replicas": {"gateway": 2}}, "expected 1 to 1, got 2", id="two gateways"),
        pytest.param({"replicas": {"tracker": 2}}, "not among the services", id="not started"),
        pytest.param(
            {"modules": {"segmenter": "no_such_module", "gateway": FAKE}},
            "not installed in this environment: segmenter",
            id="not installed",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(StackError, match=complaint):
        _plan(**changes).arranged()


def test_a_taken_gateway_port_is_refused_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(StackError, match=rf"port {port} .*--port 0"):
            _plan(port=port).arranged()


def test_replicas_have_names_and_ports_of_their_own() -> None:
    replicas = _plan(replicas={"segmenter": 3}, metrics=True).arranged()
    assert [r.source for r in replicas] == ["segmenter.1", "segmenter.2", "segmenter.3", "gateway"]
    ports = [r.environment["KINEMASK_PORT"] for r in replicas]
    metrics = [r.environment["KINEMASK_METRICS_PORT"] for r in replicas]
    assert len({*ports, *metrics}) == 8
    assert [r.address for r in replicas] == [f"127.0.0.1:{port}" for port in ports]


def test_what_was_meant_for_one_server_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOT_INHERITED:
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("KINEMASK_LOG_LEVEL", "debug")
    [replica] = _plan(services=["segmenter"], environment={"KINEMASK_MAX_PIXELS": "9"}).arranged()
    assert replica.environment["KINEMASK_PORT"] != "7"
    assert replica.environment["KINEMASK_HOST"] == "127.0.0.1"
    assert not {"KINEMASK_METRICS_PORT", "KINEMASK_TLS_CERT"} & replica.environment.keys()
    assert replica.environment["KINEMASK_LOG_LEVEL"] == "debug"
    assert replica.environment["KINEMASK_MAX_PIXELS"] == "9"


def test_only_the_gateway_listens_elsewhere() -> None:
    segmenter, gateway = _plan(host="0.0.0.0").arranged()
    assert segmenter.environment["KINEMASK_HOST"] == "127.0.0.1"
    assert gateway.environment["KINEMASK_HOST"] == "0.0.0.0"
    assert gateway.address.startswith("127.0.0.1:")


def test_a_wished_port_is_given_if_it_is_free_and_never_twice() -> None:
    [wish] = free_ports([0])
    first, second = free_ports([wish, wish])
    assert first == wish and second not in (0, wish)


def test_lines_stand_behind_their_source() -> None:
    out = io.StringIO()
    printer = LogPrinter(out, ["gateway", "segmenter.2"], color=False)
    printer(LogLine("gateway", "gateway", "hello"))
    printer(LogLine("segmenter", "segmenter.2", "hello"))
    assert out.getvalue() == "gateway     | hello\nsegmenter.2 | hello\n"


def test_services_have_different_colors_and_notices_stand_out() -> None:
    out = io.StringIO()
    printer = LogPrinter(out, color=True)
    for service in ("gateway", "segmenter"):
        printer(LogLine(service, service, "hello"))
    printer(LogLine("gateway", "gateway", "stopped", is_notice=True))
    assert out.getvalue().splitlines() == [
        "\x1b[36mgateway |\x1b[0m hello",
        "\x1b[32msegmenter |\x1b[0m hello",
        "\x1b[36mgateway |\x1b[0m \x1b[1mstopped\x1b[0m",
    ]


def test_a_log_that_nobody_reads_any_more_is_no_error() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    LogPrinter(Gone())(LogLine("gateway", "gateway", "hello"))
