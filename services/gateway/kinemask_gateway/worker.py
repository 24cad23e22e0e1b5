"""Start a worker: `python -m kinemask_gateway.worker`; `--help` lists its settings."""

from __future__ import annotations

import sys

from kinemask_chassis.launch import main as launch

from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService


def main() -> int:
    """The process's exit code."""
    return launch(WorkerService, WorkerSettings)


if __name__ == "__main__":
    sys.exit(main())
