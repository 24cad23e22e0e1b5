"""`python -m demo [VIDEO]`: what `make demo` runs once everything is installed.

Makes the clip if none is given, starts every service on free ports, lets `kinemask track` blur the
faces, checks the result, and stops what it started, on Ctrl-C and on errors too.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from kinemask.cli.up import LogPrinter, Stack, StackError
from kinemask.cli.up.engines import choice_lines, engine_choices
from kinemask.video import VideoError

from demo.check import BLURRED_BELOW, detail_left, timing_of
from demo.clip import write_clip
from demo.scene import FRAMES

CLIP = Path("out/clip.mp4")
OUTPUT = Path("out/demo.mp4")
LOG = Path("out/demo.log")
_INTERRUPTED = 130
_CLEANS_UP_WITHIN_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("video", type=Path, nargs="?", help="a video of yours; else one is made")
    video: Path | None = parser.parse_args().video
    # SIGTERM ends this like Ctrl-C does, so that the services go too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(video)
    except KeyboardInterrupt:
        print("demo: interrupted; every service is stopped", file=sys.stderr)
        return _INTERRUPTED
    except (StackError, VideoError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def run(video: Path | None, frames: int = FRAMES) -> int:
    """The whole demo, the made clip that many frames long; the process's exit code."""
    OUTPUT.parent.mkdir(exist_ok=True)
    if video is None:
        print(f"Making the clip {CLIP} of public-domain photographs.", flush=True)
        write_clip(CLIP, frames)
    code = track(video or CLIP)
    if code == 0:
        code = check(video or CLIP, made_here=video is None)
    return code


def track(video: Path) -> int:
    """Start the services, run the command line on them, stop them; the command's exit code."""
    print(f"Starting the services; their log is {LOG}.", flush=True)
    with LOG.open("w") as log, Stack(log=LogPrinter(log, ("segmenter",))) as stack:
        print(
            "\n".join(f"  {line}" for line in choice_lines(engine_choices(stack.gateway_address)))
        )
        command = ["track", str(video), "--server", stack.gateway_address]
        command += ["--text", "face", "--effect", "blur", "-o", str(OUTPUT), "--overwrite"]
        print("$ kinemask " + " ".join(command), flush=True)
        return subprocess.run(
            [sys.executable, "-m", "kinemask.cli", *command], check=False
        ).returncode


def call(command: list[str]) -> int:
    """Run a command to its end; its exit code. If interrupted, it has time to clean up."""
    # In a session of its own a Ctrl-C reaches it once, from here, and not from the terminal too.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_CLEANS_UP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def check(video: Path, *, made_here: bool) -> int:
    """Compare the output with the input; 0 if it is as it should be."""
    times = timing_of(video)
    if difference := times.differs_from(timing_of(OUTPUT)):
        print(f"demo: {OUTPUT} does not match {video}: {difference}", file=sys.stderr)
        return 1
    print(f"{OUTPUT}: {len(times.times_s)} frames, each at its time.")
    return check_faces() if made_here else 0


def check_faces() -> int:
    """The made clip comes with the truth: is the face blurred in every frame?"""
    left = list(detail_left(CLIP, OUTPUT))
    sharp = [index for index, share in enumerate(left) if share >= BLURRED_BELOW]
    print(
        f"The face is blurred in {len(left) - len(sharp)} of {len(left)} frames; "
        f"at most {max(left):.0%} of its detail is left."
    )
    if sharp:
        print(f"demo: the face is still sharp in frames {sharp[:20]}", file=sys.stderr)
    return 1 if sharp else 0


if __name__ == "__main__":
    raise SystemExit(main())
