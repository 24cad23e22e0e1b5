"""Runs a service's module and leaves when the process that started it is gone.

`python -P child.py MODULE`. The parent holds the other end of standard input and never writes:
when it ends, however it ends, the system closes that end, and here the read returns. Unlike a
parent death signal this works on every system and does not care which thread started us.
Started by its path, so that the service imports nothing of the command line's.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_ORPHAN_GRACE_S = 5.0


def leave_with_parent() -> None:
    """Ask this process to end once standard input does; end it if it does not listen."""
    while os.read(0, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ORPHAN_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=leave_with_parent, name="parent-watch", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
