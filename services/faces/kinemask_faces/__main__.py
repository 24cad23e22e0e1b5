"""`python -m kinemask_faces` starts the service; `--help` lists its settings."""

from kinemask_chassis.launch import main

from kinemask_faces.service import FacesService
from kinemask_faces.settings import FacesSettings


def run() -> int:
    """Serve until a signal; the process's exit code."""
    return main(FacesService, FacesSettings)


if __name__ == "__main__":
    raise SystemExit(run())
