"""What a log line holds, whoever wrote it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from kinemask_chassis import context as rpc_context
from kinemask_chassis.logs import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_json_lines_carry_service_and_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("tracker", "info", "json")
    rpc_context.set_request_id("trace-1")
    structlog.get_logger("ours").info("hello", frames=3)
    logging.getLogger("theirs").warning("third %s", "party")
    logging.getLogger("theirs").debug("not shown")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["frames"], ours["level"]) == ("hello", 3, "info")
    assert (theirs["event"], theirs["level"]) == ("third party", "warning")
    for line in (ours, theirs):
        assert (line["service"], line["request_id"]) == ("tracker", "trace-1")


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    for style in ("json", "console"):
        configure_logging("tracker", "info", "console" if style == "console" else "json")
        try:
            _fail("xyz" + "zy")
        except ZeroDivisionError:
            structlog.get_logger().exception("failed")
        text = capsys.readouterr().err
        assert "ZeroDivisionError" in text
        assert "xyzzy" not in text


def _fail(secret: str) -> float:
    return len(secret) / 0
