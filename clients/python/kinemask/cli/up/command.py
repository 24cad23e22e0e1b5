"""`kinemask up`: start every service on this machine and show one log."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Annotated

import grpc
import typer

from kinemask.cli.up.engines import choice_lines, engine_choices
from kinemask.cli.up.keeper import StackError, wait_alert
from kinemask.cli.up.logs import LogLine, LogPrinter
from kinemask.cli.up.plan import LOOPBACK, NOT_INHERITED
from kinemask.cli.up.services import (
    DEFAULT_PORTS,
    GATEWAY,
    KNOWN_SERVICES,
    WORKER,
    installed_services,
    is_installed,
    module_of,
)
from kinemask.cli.up.stack import Stack

_SOURCE = "kinemask"
_INTERRUPTED_TWICE = 130

Replicas = Annotated[
    list[str] | None,
    typer.Option(metavar="SERVICE=N", help="Processes of a service; may be given several times."),
]
Services = Annotated[
    list[str] | None,
    typer.Option("--service", help="Start this one only; may be given several times."),
]
Host = Annotated[str, typer.Option(help="Where the gateway listens; 0.0.0.0: every network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port; 0: a free one.")]
Metrics = Annotated[bool, typer.Option(help="Serve Prometheus metrics, a port for each process.")]


def up(
    replicas: Replicas = None,
    service: Services = None,
    host: Host = LOOPBACK,
    port: Port = DEFAULT_PORTS[GATEWAY],
    metrics: Metrics = False,
) -> None:
    """Start every installed service on this machine, until Ctrl-C.

    Each service is a process of its own; settings come from the environment (KINEMASK_...).
    Videos and jobs are kept in the data folder, in an embedded PostgreSQL, or where
    KINEMASK_DATABASE_URL and KINEMASK_OBJECT_STORE say; KINEMASK_LIBRARY=off leaves them out.
    """
    try:
        counts = parse_replicas(replicas or ())
        names, environment = with_library(service)
        printer = LogPrinter(
            sys.stdout, (*KNOWN_SERVICES, *(f"{n}.{c}" for n, c in counts.items()))
        )
        stack = Stack(
            names,
            replicas=counts,
            environment=environment,
            host=host,
            port=port,
            metrics=metrics,
            log=printer,
        )
        code = run(stack, printer, chosen=service)
    except StackError as error:
        print(f"kinemask up: {error}", file=sys.stderr)
        code = 1
    raise typer.Exit(code)


def with_library(chosen: Sequence[str] | None) -> tuple[Sequence[str] | None, dict[str, str]]:
    """The services to start and the settings that keep videos and jobs, where they are wanted.

    They are if nobody chose services, or if a worker is among those chosen.
    """
    if os.environ.get("KINEMASK_LIBRARY") == "off" or not is_installed(module_of(WORKER)):
        return chosen, {}
    if chosen is not None and WORKER not in chosen:
        return chosen, {}
    names = [*installed_services(), WORKER] if chosen is None else chosen
    return names, {"KINEMASK_LIBRARY": "on"}


def parse_replicas(pairs: Iterable[str]) -> dict[str, int]:
    """`["segmenter=2"]` as `{"segmenter": 2}`.

    Raises:
        StackError: an entry is not SERVICE=N.
    """
    counts = {}
    for pair in pairs:
        name, equals, number = pair.partition("=")
        if not (name and equals and number.isascii() and number.isdigit()):
            raise StackError(f"--replicas: expected SERVICE=N, such as segmenter=2, got {pair!r}")
        counts[name] = int(number)
    return counts


def run(stack: Stack, printer: LogPrinter, chosen: Iterable[str] | None = None) -> int:
    """Start, say what runs, wait for a signal, stop; the process's exit code.

    Raises:
        StackError: the services could not be started.
    """
    # SIGTERM ends this like Ctrl-C does: by an exception, wherever the program stands.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _serve(stack, printer, chosen)
    except KeyboardInterrupt:
        say(printer, "killed")
        return _INTERRUPTED_TWICE
    return 0


def _serve(stack: Stack, printer: LogPrinter, chosen: Iterable[str] | None) -> None:
    """Raises KeyboardInterrupt only if a second signal came while it stopped."""
    try:
        for line in left_out(chosen):
            say(printer, line)
        stack.start()
        for line in summary(stack):
            say(printer, line)
        wait_alert(threading.Event())
    except KeyboardInterrupt:
        say(printer, "stopping; Ctrl-C again kills")
    finally:
        stack.stop()
    say(printer, "stopped")


def left_out(chosen: Iterable[str] | None) -> list[str]:
    """What a person might expect and does not get."""
    lines = []
    present = (*installed_services(), WORKER)
    missing = [name for name in KNOWN_SERVICES if name not in present]
    if missing and chosen is None:
        lines.append(f"not installed here, so not started: {', '.join(missing)}")
    ignored = [name for name in NOT_INHERITED if os.environ.get(name)]
    if ignored:
        lines.append(f"set, but not used by `kinemask up`: {', '.join(ignored)}")
    return lines


def summary(stack: Stack) -> list[str]:
    """What runs, with which engines, and where to go."""
    lines = [
        f"{r.source} metrics: http://{LOOPBACK}:{r.metrics_port}/metrics"
        for r in stack.replicas
        if r.metrics_port is not None
    ]
    try:
        address = stack.gateway_address
    except LookupError:
        return [*lines, *(f"ready: {r.source} on {r.address}" for r in stack.replicas)]
    return [*lines, *_engine_lines(address), f"ready on {address}"]


def say(printer: LogPrinter, text: str) -> None:
    """A line of this program's own."""
    printer(LogLine(_SOURCE, _SOURCE, text, is_notice=True))


def _engine_lines(address: str) -> list[str]:
    try:
        return choice_lines(engine_choices(address))
    except grpc.RpcError as error:
        # The services run all the same; the gateway may be of another version.
        why = error.details() if isinstance(error, grpc.Call) else error
        return [f"the gateway does not say which engines it has: {why}"]
