"""What the packaging files are held against."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

from kinemask_chassis.settings import ENV_PREFIX, ChassisSettings

ROOT = Path(__file__).parents[2]
SERVICES = tuple(
    sorted(
        path.parent.name
        for path in ROOT.glob("services/*/pyproject.toml")
        # The chassis, and a project that nothing starts yet, are no services.
        if list(path.parent.glob("*/__main__.py"))
    )
)
PROJECTS = sorted([ROOT / "clients/python/pyproject.toml", *ROOT.glob("services/*/pyproject.toml")])


def project(path: Path) -> dict[str, Any]:
    """The [project] table."""
    return dict(tomllib.loads(path.read_text())["project"])


def settings_class(service: str) -> type[ChassisSettings]:
    """The service's own settings class."""
    module = importlib.import_module(f"kinemask_{service}.settings")
    [found] = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ChassisSettings)
        and value.__module__ == module.__name__
    ]
    return found


def load_as(service: str, environment: dict[str, str]) -> ChassisSettings:
    """The settings as the service would read them from these variables alone.

    Raises:
        AssertionError: a variable that no field of the class reads.
    """
    cls = settings_class(service)
    ours = {k: v for k, v in environment.items() if k.startswith(ENV_PREFIX)}
    unknown = [n for n in ours if n.removeprefix(ENV_PREFIX).lower() not in cls.model_fields]
    assert unknown == [], f"{service} has no such settings"
    return cls(**{n.removeprefix(ENV_PREFIX).lower(): v for n, v in ours.items()})  # type: ignore[arg-type]  # text, as from the environment
