"""A service as a process: `main` is all that a service's `__main__.py` calls."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

import structlog

from kinemask_chassis.errors import ServiceError
from kinemask_chassis.logs import configure_logging
from kinemask_chassis.server import RunningServer, Service, StartError
from kinemask_chassis.settings import SettingsT, load_settings, settings_help

# After the grace, threads that still compute get this long before the process ends regardless.
_EXIT_SLACK_S = 5.0

_log = structlog.get_logger(__name__)


def main(
    service_class: type[Service[SettingsT]],
    settings_class: type[SettingsT],
    arguments: Sequence[str] | None = None,
) -> int:
    """Read the settings, run the service until a signal, and give the process's exit code.

    `--help` prints every setting. Codes: 0 after SIGTERM or SIGINT, 1 if it could not start,
    2 for bad settings or arguments.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given:
        print(f"Settings, all from the environment:\n\n{settings_help(settings_class)}")
        return 0 if given[0] in ("-h", "--help") else 2
    settings = load_settings(settings_class)
    configure_logging(service_class.name, settings.log_level, settings.log_format)
    return run(service_class(settings))


def run(service: Service[SettingsT]) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code."""
    return asyncio.run(serve(service))


async def serve(service: Service[SettingsT]) -> int:
    """The same inside a running loop; logs `listening` with host and port once it is ready."""
    leave = _leave_on_signals(service.settings.drain_grace_s)
    server = RunningServer(service)
    try:
        await server.start()
        if await _warmed_up(server, leave):
            await leave.wait()
        await server.drain(service.settings.drain_grace_s)
    except StartError as error:
        _log.error("cannot_start", why=str(error))
        return 1
    except _WarmUpError as error:
        _log.error("warm_up_failed", why=str(error), exc_info=error.__cause__)
        return 1
    finally:
        await server.close()
    _log.info("stopped")
    return 0


class _WarmUpError(Exception):
    """The service could not get ready."""


async def _warmed_up(server: RunningServer, leave: asyncio.Event) -> bool:
    """Warm up; False if a signal came first."""
    _log.info("warming_up", host=server.service.settings.host, port=server.port)
    started_s = time.monotonic()
    warming = asyncio.create_task(server.warm_up())
    leaving = asyncio.create_task(leave.wait())
    await asyncio.wait((warming, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not warming.done():
        warming.cancel()
        return False
    if error := warming.exception():
        why = error.message if isinstance(error, ServiceError) else repr(error)
        raise _WarmUpError(why) from error
    _log.info(
        "listening",
        host=server.service.settings.host,
        port=server.port,
        metrics_port=server.metrics_port,
        warm_up_s=round(time.monotonic() - started_s, 3),
    )
    return True


def _leave_on_signals(grace_s: float) -> asyncio.Event:
    """Set at the first SIGTERM or SIGINT; the second ends the process at once."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if leave.is_set():
            os._exit(128 + number)
        _log.info("signal", name=number.name)
        _exit_after(grace_s + _EXIT_SLACK_S)
        leave.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return leave


def _exit_after(seconds: float) -> None:
    """A model that still computes in a thread would keep the process alive: do not wait for it."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
