"""`python -m demo.clip OUT.mp4` writes the demo's clip: 8 s of 854x480 at 25 frames/s, H.264."""

from __future__ import annotations

import argparse
from pathlib import Path

from kinemask.video import VideoWriter

from demo.scene import FPS, FRAMES, HEIGHT_PX, WIDTH_PX, scene_frame


def write_clip(path: Path, frames: int = FRAMES) -> None:
    """Write the first `frames` frames of the scene; all or nothing.

    Raises:
        VideoError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width=WIDTH_PX, height=HEIGHT_PX, fps=FPS) as writer:
        for index in range(frames):
            writer.write(scene_frame(index).image)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the clip to write, such as out/clip.mp4")
    arguments = parser.parse_args()
    write_clip(arguments.out)
    print(f"{arguments.out}: {FRAMES} frames of {WIDTH_PX}x{HEIGHT_PX} at {FPS} frames/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
