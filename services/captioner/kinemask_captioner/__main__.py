"""`python -m kinemask_captioner` starts the service; `--help` lists its settings."""

from kinemask_chassis.launch import main

from kinemask_captioner.service import CaptionerService
from kinemask_captioner.settings import CaptionerSettings


def run() -> int:
    """Serve until a signal; the process's exit code."""
    return main(CaptionerService, CaptionerSettings)


if __name__ == "__main__":
    raise SystemExit(run())
