"""Who made a result."""

from __future__ import annotations

import os
import socket
from importlib import metadata

from kinemask.v1 import media_pb2

BUILTIN = "builtin"
"""The revision of a model without weights."""


def service_info(
    service: str,
    *,
    engine: str,
    model: str,
    revision: str = BUILTIN,
    device: str = "cpu",
    notice: str = "",
) -> media_pb2.ServiceInfo:
    """What a reply names: the service with its version and replica, and what it ran."""
    return media_pb2.ServiceInfo(
        service=service,
        version=package_version(f"kinemask-{service}"),
        engine=engine,
        model=model,
        revision=revision,
        device=device,
        replica=f"{socket.gethostname()}:{os.getpid()}",
        notice=notice,
    )


def package_version(package: str) -> str:
    """The installed version of a package; 0.0.0 when it runs from a plain folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "0.0.0"
