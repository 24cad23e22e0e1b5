"""`python -m kinemask_detector` starts the service; `--help` lists its settings."""

from kinemask_chassis.launch import main

from kinemask_detector.service import DetectorService
from kinemask_detector.settings import DetectorSettings


def run() -> int:
    """Serve until a signal; the process's exit code."""
    return main(DetectorService, DetectorSettings)


if __name__ == "__main__":
    raise SystemExit(run())
