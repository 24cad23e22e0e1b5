"""Peak memory of a render of a long video beside that of a short one.

    python -m benchmarks.render_memory [--short 500] [--long 10000]

Each render is a process of its own, with the job's own code, object store and sound, on a made clip
of 640x360. Ends with one JSON line: {"short_mb": ..., "long_mb": ..., "ratio": ...}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import render

RENDERED = "--only"


def peak_mb(frames: int) -> float:
    """The peak memory of a process that renders so many frames."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Made in another process: this one's peak would count what it took to make them.
        for step in ("make", "draw"):
            words = [sys.executable, "-m", "benchmarks.render_memory", RENDERED, step, name]
            told = subprocess.run([*words, str(frames)], check=True, capture_output=True, text=True)
        assert (folder / "render.mp4").is_file()
    return float(told.stdout)


def step(name: str, folder: Path, frames: int) -> None:
    """One process's work."""
    render.HEIGHT, render.WIDTH = 360, 640
    clip = folder / "clip.mp4"
    if name == "make":
        render.make_clip(clip, frames)
        asyncio.run(render.make_source(clip, folder, "blur"))
        return
    asyncio.run(_drawn(clip, folder))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def _drawn(clip: Path, folder: Path) -> None:
    source, store = await render.make_source(clip, folder, "blur")
    await render.render(source, store, folder / "render.mp4", 2)


def main() -> None:
    """Print both peaks, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", type=int, default=500)
    parser.add_argument("--long", type=int, default=10_000)
    parser.add_argument(RENDERED, nargs=3, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.only:
        name, folder, frames = told.only
        step(name, Path(folder), int(frames))
        return
    short_mb, long_mb = peak_mb(told.short), peak_mb(told.long)
    print(f"{told.short} frames: {short_mb:.1f} MB, {told.long} frames: {long_mb:.1f} MB")
    ratio = round(long_mb / short_mb, 3)
    figures = {"short_mb": round(short_mb, 1), "long_mb": round(long_mb, 1), "ratio": ratio}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
