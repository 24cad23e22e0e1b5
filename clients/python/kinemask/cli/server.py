"""The gateway that a command talks to: a running one, or one started for the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinemask.cli.failures import CommandError, say, usage_error

if TYPE_CHECKING:
    from kinemask.client import Client

_ANSWERS_WITHIN_S = 5.0
_STOPS_WITHIN_S = 3.0
_LIVE_SERVICE = "kinemask.v1.LiveService"
_JPEG_QUALITY = 95


@contextmanager
def gateway(
    server: str | None,
    needs: Sequence[str] | None,
    *,
    debug: bool = False,
    library: bool = False,
) -> Iterator[Client]:
    """A client of `server`, or of services started for as long as this lasts.

    Args:
        server: `HOST:PORT`, or None to start services.
        needs: which ones, beside the gateway; None for all that are installed.
        library: start them with stored videos and jobs.

    Raises:
        CommandError: no gateway answers there, or nothing is installed that could be started.
        StackError: the services do not start.
    """
    if server is not None:
        with _client(server) as client:
            yield client
        return
    with _started(needs, debug, library) as address, _client(address) as client:
        yield client


@contextmanager
def _client(address: str) -> Iterator[Client]:
    from kinemask.client import Client
    from kinemask.errors import KinemaskError

    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise usage_error(f"--server {address}: expected HOST:PORT, such as 127.0.0.1:50050")
    with Client(address, jpeg_quality=_JPEG_QUALITY) as client:
        try:
            client.wait_ready(_ANSWERS_WITHIN_S, _LIVE_SERVICE)
        except KinemaskError as error:
            raise _no_gateway(address, error) from error
        yield client


def _no_gateway(address: str, error: Exception) -> CommandError:
    from kinemask.errors import NotFoundError, UnimplementedError

    if isinstance(error, (NotFoundError, UnimplementedError)):
        what = f"what answers at {address} is not a Kinemask gateway"
        return CommandError(what, hint="the gateway's own port: kinemask up prints it")
    hint = "kinemask up starts one; without --server the services are started for the run"
    return CommandError(f"no Kinemask gateway answers at {address}", hint=hint)


@contextmanager
def _started(needs: Sequence[str] | None, debug: bool, library: bool) -> Iterator[str]:
    from kinemask.cli.up import GATEWAY, WORKER, LogPrinter, Stack, installed_services

    present = installed_services()
    names = present if needs is None else (*needs, GATEWAY)
    # Workers come with the gateway.
    wanted = [name for name in (*names, GATEWAY) if name != WORKER]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise CommandError(
            f"no --server was given, and these services are not installed here: "
            f"{', '.join(dict.fromkeys(missing))}",
            hint="--server HOST:PORT of a machine that runs kinemask up, or install them "
            "(make install)",
        )
    log = LogPrinter(sys.stderr, names) if debug else None
    inner = ", ".join(name for name in names if name != GATEWAY) or "a gateway"
    say(f"no --server given: starting {inner} for this run")
    told = {"KINEMASK_LIBRARY": "on"} if library else {}
    with Stack(names, environment=told, log=log, grace_s=_STOPS_WITHIN_S) as stack:
        yield stack.gateway_address
