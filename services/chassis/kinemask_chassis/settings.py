"""What every service reads from its environment, once, at its start.

A service subclasses `ChassisSettings` with its own fields; each is read from `KINEMASK_` and the
field's name in capitals, and each has a description that `settings_table` shows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from kinemask.data_folder import default_data_dir
from pydantic import Field, FilePath, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "KINEMASK_"
MIB = 1024 * 1024

Port = Annotated[int, Field(ge=0, le=65535)]
"""A port; for a service that overrides the default one: `port: Port = Field(default=...)`."""

SettingsT = TypeVar("SettingsT", bound="ChassisSettings")


class ChassisSettings(BaseSettings):
    """The settings that every service has."""

    # A variable that is set to nothing counts as not set: compose files pass such through.
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every network."
    )
    port: Port = Field(default=50051, description="Port of the gRPC server; 0 picks a free one.")
    metrics_host: str = Field(
        default="127.0.0.1", description="Address of the metrics port; keep it off public networks."
    )
    metrics_port: Port | None = Field(
        default=None,
        description="Port of Prometheus metrics (/metrics); 0 picks a free one, unset means off.",
    )
    tls_cert: FilePath | None = Field(
        default=None, description="PEM file with the server's certificate chain; turns TLS on."
    )
    tls_key: FilePath | None = Field(
        default=None, description="PEM file with the certificate's key."
    )
    tls_client_ca: FilePath | None = Field(
        default=None,
        description="PEM file with the CA of client certificates; turns mutual TLS on.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe lines to log: debug, info, warning or error."
    )
    log_format: Literal["console", "json"] = Field(
        default="console",
        description="console (coloured on a terminal) or json, one object a line.",
    )
    drain_grace_s: float = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds that running calls have to end after SIGTERM.",
    )
    # A resume token may be 64 MiB and has a config around it; a raw 4K frame is 25 MB.
    max_message_bytes: int = Field(
        default=65 * MIB,
        ge=4096,
        le=2**31 - 1,
        description="Largest message in either direction: 64 MiB of resume token and a config.",
    )
    max_pixels: int = Field(
        default=50_000_000, ge=1, description="Largest picture in pixels, checked before decoding."
    )
    max_streams: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Bidirectional streams served at once, for the service.",
    )
    stall_timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds after which a client that does not read is cut off.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder for models and data (default: the platform's user data folder).",
    )
    default_window: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Frames that may be unanswered where the client names none.",
    )
    max_window: int = Field(
        default=64,
        ge=1,
        le=256,
        description="Largest window a client gets; a larger wish is lowered.",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> ChassisSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("KINEMASK_TLS_CERT and KINEMASK_TLS_KEY: expected both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("KINEMASK_TLS_CLIENT_CA: expected KINEMASK_TLS_CERT beside it")
        if self.default_window > self.max_window:
            raise ValueError(
                f"KINEMASK_DEFAULT_WINDOW: expected at most KINEMASK_MAX_WINDOW "
                f"({self.max_window}), got {self.default_window}"
            )
        return self


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read the environment; one line per bad variable on stderr and exit code 2 if it is wrong.

    Raises:
        SystemExit: with code 2.
    """
    try:
        return settings_class()
    except ValidationError as error:
        print("\n".join(explain(error)), file=sys.stderr)
        raise SystemExit(2) from None


def explain(error: ValidationError) -> list[str]:
    """One readable line for each wrong variable; values are left out where they may be secret."""
    lines = []
    for problem in error.errors(include_url=False):
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = ENV_PREFIX + str(problem["loc"][0]).upper()
        lines.append(f"{name}={_shown(name, problem['input'])}: {problem['msg']}")
    return lines


def settings_table(settings_class: type[ChassisSettings]) -> str:
    """Every setting as a Markdown table: variable, default, meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [f"| `{n}` | {d} | {m} |" for n, d, m in setting_rows(settings_class)]
    return "\n".join(rows)


def settings_help(settings_class: type[ChassisSettings]) -> str:
    """The same as aligned plain text, for `--help`."""
    rows = setting_rows(settings_class)
    wide = max(len(name) for name, _, _ in rows)
    return "\n".join(f"  {n:<{wide}}  {m} [{d or 'unset'}]" for n, d, m in rows)


def setting_rows(settings_class: type[ChassisSettings]) -> list[tuple[str, str, str]]:
    """(variable, default or nothing, meaning) of each setting, in the order of the class."""
    rows = []
    for name, field in settings_class.model_fields.items():
        default = "" if field.default_factory or field.default is None else str(field.default)
        rows.append((ENV_PREFIX + name.upper(), default, field.description or ""))
    return rows


def _shown(name: str, value: object) -> str:
    secret = any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "URL"))
    return "(hidden)" if secret else repr(value)
