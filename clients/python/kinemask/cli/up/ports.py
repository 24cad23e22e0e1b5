"""Ports that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Sequence

_ANY = 0


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True if a server could listen there now; False too for an address that is not ours."""
    with socket.socket() as listener:
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(wanted: Sequence[int], host: str = "127.0.0.1") -> list[int]:
    """A port for each wish, all different: the wish where it is free, any other where it is not.

    0 wishes for any. Nothing holds the ports afterwards: use them soon.
    """
    listeners: list[socket.socket] = []
    try:
        for wish in wanted:
            listeners.append(_bound(wish, host))
        return [int(listener.getsockname()[1]) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def _bound(wish: int, host: str) -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind((host, wish))
    except OSError:
        listener.bind((host, _ANY))
    return listener
