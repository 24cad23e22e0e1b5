"""Every service as a process of its own on this machine: `kinemask up`, and `Stack` for programs.

with Stack(replicas={"segmenter": 2}) as stack:
    client = kinemask.Client(stack.gateway_address)
"""

from kinemask.cli.up.keeper import StackError
from kinemask.cli.up.logs import LogLine, LogPrinter, LogSink
from kinemask.cli.up.services import GATEWAY, KNOWN_SERVICES, WORKER, installed_services
from kinemask.cli.up.stack import Stack

__all__ = [
    "GATEWAY",
    "KNOWN_SERVICES",
    "WORKER",
    "LogLine",
    "LogPrinter",
    "LogSink",
    "Stack",
    "StackError",
    "installed_services",
]
