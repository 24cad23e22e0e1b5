"""`python -m kinemask_tracker` starts the service; `--help` lists its settings."""

from kinemask_chassis.launch import main

from kinemask_tracker.service import TrackerService
from kinemask_tracker.settings import TrackerServiceSettings


def run() -> int:
    """Serve until a signal; the process's exit code."""
    return main(TrackerService, TrackerServiceSettings)


if __name__ == "__main__":
    raise SystemExit(run())
