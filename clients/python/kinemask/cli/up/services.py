"""The services there are, and which of them are installed here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

GATEWAY = "gateway"
"""The one front door: it starts last and leaves first."""

WORKER = "worker"
"""Runs jobs on stored videos; it comes with the gateway, and starts only if it is asked for."""

DEFAULT_PORTS: Mapping[str, int] = {
    GATEWAY: 50050,
    "detector": 50051,
    "segmenter": 50052,
    "tracker": 50053,
    "faces": 50054,
    "captioner": 50055,
    WORKER: 50056,
}
"""What each service listens on where nobody says otherwise."""

KNOWN_SERVICES = tuple(DEFAULT_PORTS)
"""Every service's name, the gateway first."""


def module_of(service: str) -> str:
    """What `python -m` starts the service with."""
    return "kinemask_gateway.worker" if service == WORKER else f"kinemask_{service}"


def is_installed(module: str) -> bool:
    """True for a package that can be imported; a folder without `__init__.py` is none."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
    return spec is not None and spec.origin is not None


def installed_services() -> tuple[str, ...]:
    """The services whose package is in this environment, the gateway first; without workers.

    A package that `python -m` cannot start, such as one with engines only, is none.
    """
    return tuple(
        name
        for name in KNOWN_SERVICES
        if name != WORKER and is_installed(f"{module_of(name)}.__main__")
    )
