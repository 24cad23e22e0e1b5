"""`make demo` on real services, shortened; and what an interrupted one leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from kinemask.cli.up import installed_services

from demo import __main__ as demo
from demo.clip import write_clip

ROOT = Path(__file__).parents[2]
NEEDS = {"gateway", "detector", "segmenter", "tracker"}
FRAMES = 40

needs_services = pytest.mark.skipif(
    not set(installed_services()) >= NEEDS, reason="the services are not installed: make install"
)


@needs_services
def test_the_face_is_blurred_in_every_frame_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = demo.run(None, FRAMES)
    said, complaints = capfd.readouterr()
    assert code == 0, complaints
    assert f"out/demo.mp4: {FRAMES} frames, each at its time." in said
    assert f"The face is blurred in {FRAMES} of {FRAMES} frames" in said
    for service in NEEDS:
        assert re.search(rf"^{service} ", said, re.MULTILINE), f"no engine of the {service}"
    assert "frames/s" in said and "ms" in said
    left = [process.cmdline() for process in psutil.Process().children(recursive=True)]
    assert not [line for line in left if "kinemask" in " ".join(line)]


def test_a_clip_left_sharp_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(demo.CLIP, 3)
    demo.OUTPUT.write_bytes(demo.CLIP.read_bytes())
    assert demo.check(demo.CLIP, made_here=True) == 1
    assert "still sharp in frames [0, 1, 2]" in capfd.readouterr().err


def test_an_output_with_a_frame_less_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(demo.CLIP, 3)
    write_clip(demo.OUTPUT, 2)
    assert demo.check(demo.CLIP, made_here=True) == 1
    assert "3 frames in, 2 out" in capfd.readouterr().err


def test_an_interrupted_command_may_clean_up() -> None:
    command = (
        "import time\n"
        "try:\n print('at work', flush=True); time.sleep(100)\n"
        "finally:\n time.sleep(0.5); print('cleaned up', flush=True)"
    )
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from demo.__main__ import call; call([{sys.executable!r}, '-c', {command!r}])",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == "at work\n"
    caller.send_signal(signal.SIGINT)
    rest, _ = caller.communicate(timeout=30)
    assert rest == "cleaned up\n"
    assert caller.returncode != 0
