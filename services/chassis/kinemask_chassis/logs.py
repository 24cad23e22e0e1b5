"""Structured logs: every line carries the service and the request id, third-party lines too."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict, Processor, WrappedLogger

from kinemask_chassis import context as rpc_context


def configure_logging(
    service: str, level: str = "info", style: Literal["console", "json"] = "console"
) -> None:
    """Send all logs of this process to stderr, one line an event; call once, at the start.

    Args:
        service: the service's name, put on every line.
        level: debug, info, warning or error.
        style: `json`, or `console`, which is coloured if stderr is a terminal.
    """
    shared = _shared_processors(service)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=shared, processors=_renderers(style)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def add_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Put the id of the rpc being served on the line, if there is one."""
    if request_id := rpc_context.request_id():
        event.setdefault("request_id", request_id)
    return event


def _shared_processors(service: str) -> list[Processor]:
    def add_service(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_service,
        add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderers(style: Literal["console", "json"]) -> list[Processor]:
    strip = ProcessorFormatter.remove_processors_meta
    if style == "json":
        return [strip, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        strip,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default prints local variables, and with them what users sent.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]
