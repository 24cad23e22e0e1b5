"""Settings: the environment, complaints a person can act on, the table of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from kinemask.data_folder import default_data_dir
from kinemask_chassis.settings import (
    ChassisSettings,
    Port,
    load_settings,
    settings_help,
    settings_table,
)
from pydantic import Field


class EngineSettings(ChassisSettings):
    """What a service adds."""

    port: Port = Field(default=50061, description="Port of the gRPC server.")
    database_url: int = Field(default=0, description="Something secret of the wrong type.")


def test_defaults_need_no_environment() -> None:
    settings = ChassisSettings()
    assert (settings.host, settings.default_window, settings.metrics_port) == ("127.0.0.1", 4, None)
    assert settings.max_message_bytes > 64 * 1024 * 1024  # a full resume token has to fit


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMASK_HOST", "0.0.0.0")
    monkeypatch.setenv("KINEMASK_METRICS_PORT", "9090")
    monkeypatch.setenv("KINEMASK_MAX_STREAMS", "")  # set to nothing counts as not set
    settings = load_settings(EngineSettings)
    assert (settings.host, settings.metrics_port) == ("0.0.0.0", 9090)
    assert (settings.max_streams, settings.port) == (64, 50061)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param({"PORT": "70000"}, "KINEMASK_PORT='70000'", id="out of range"),
        pytest.param({"LOG_FORMAT": "xml"}, "KINEMASK_LOG_FORMAT='xml'", id="not a choice"),
        pytest.param({"TLS_CERT": "nowhere.pem"}, "KINEMASK_TLS_CERT=", id="no such file"),
        pytest.param({"TLS_KEY": __file__}, "expected both or neither", id="key without cert"),
        pytest.param({"TLS_CLIENT_CA": __file__}, "expected KINEMASK_TLS_CERT", id="CA alone"),
        pytest.param({"DEFAULT_WINDOW": "65"}, "at most KINEMASK_MAX_WINDOW (64)", id="windows"),
    ],
)
def test_a_bad_variable_gets_one_line_and_exit_2(
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"KINEMASK_{name}", value)
    with pytest.raises(SystemExit) as caught:
        load_settings(EngineSettings)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_secret_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINEMASK_DATABASE_URL", "postgresql://me:hunter2@db/x")
    with pytest.raises(SystemExit):
        load_settings(EngineSettings)
    assert "hunter2" not in capsys.readouterr().err


def test_every_setting_is_described() -> None:
    table = settings_table(EngineSettings)
    for name, field in EngineSettings.model_fields.items():
        assert field.description
        assert f"| `KINEMASK_{name.upper()}` |" in table
        assert f"KINEMASK_{name.upper()}" in settings_help(EngineSettings)
    assert "| `KINEMASK_PORT` | 50061 | Port of the gRPC server. |" in table


def test_the_data_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert default_data_dir() == Path("/elsewhere/kinemask")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_data_dir() == Path.home() / ".local/share/kinemask"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_data_dir().parts[-2:] == ("Application Support", "kinemask")
