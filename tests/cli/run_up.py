"""`kinemask up` over fake services, as a process of its own: python -m tests.cli.run_up"""

from __future__ import annotations

import sys

from kinemask.cli.up import LogPrinter, Stack
from kinemask.cli.up.command import run

FAKE = "tests.cli.fake_service"

if __name__ == "__main__":
    printer = LogPrinter(sys.stdout, ("segmenter.2",))
    modules = {"segmenter": FAKE, "gateway": FAKE}
    stack = Stack(list(modules), replicas={"segmenter": 2}, modules=modules, log=printer)
    raise SystemExit(run(stack, printer, chosen=list(modules)))
