"""`python -m kinemask_segmenter` starts the service; `--help` lists its settings."""

from kinemask_chassis.launch import main

from kinemask_segmenter.service import SegmenterService
from kinemask_segmenter.settings import SegmenterSettings


def run() -> int:
    """Serve until a signal; the process's exit code."""
    return main(SegmenterService, SegmenterSettings)


if __name__ == "__main__":
    raise SystemExit(run())
