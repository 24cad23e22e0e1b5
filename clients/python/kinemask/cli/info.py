"""`kinemask engines` and `kinemask version`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from kinemask.cli.failures import FAILED, OK, command
from kinemask.cli.options import AsJson, Debug, Server

if TYPE_CHECKING:
    from kinemask.types import ModelInfo, Services, ServiceStatus


@command
def engines(server: Server = None, as_json: AsJson = False, debug: Debug = False) -> int:
    """Show the services, the engines and models each can run, and what is missing.

    Exits 1 if a service that has an address is not serving.
    """
    from kinemask.cli.output import print_json
    from kinemask.cli.server import gateway

    with gateway(server, None, debug=debug) as client:
        found = client.services()
    if as_json:
        print_json({"gateway": vars(found.gateway), "services": [_json(s) for s in found.services]})
    else:
        _print(found)
    down = [status for status in found.services if status.addresses and not status.serving]
    return FAILED if down else OK


@command
def version() -> int:
    """Show the version."""
    import kinemask

    print(f"kinemask {kinemask.__version__} (Python {platform.python_version()})")
    return OK


def _print(found: Services) -> None:
    from kinemask.cli.output import print_tables, table

    rows: list[tuple[object, ...]] = [("gateway", found.gateway.engine, "yes", "", "")]
    for status in found.services:
        rows += [_row(status, model) for model in status.models] or [
            (status.service, "-", "no", "", status.reason)
        ]
    print_tables(table(("Service", "Model", "Ready", "Default", "Notes"), rows))


def _row(status: ServiceStatus, model: ModelInfo) -> tuple[object, ...]:
    named = model.name if model.engine in ("", model.name) else f"{model.name} ({model.engine})"
    finds = f"finds: {', '.join(model.classes)}" if model.classes else ""
    notes = "; ".join(part for part in (status.reason, model.reason, finds, model.license) if part)
    ready = "yes" if model.ready and status.serving else "no"
    return (status.service, named, ready, "default" if model.is_default else "", notes)


def _json(status: ServiceStatus) -> dict[str, object]:
    return {
        "service": status.service,
        "addresses": list(status.addresses),
        "serving": status.serving,
        "reason": status.reason,
        "models": [vars(model) for model in status.models],
    }
