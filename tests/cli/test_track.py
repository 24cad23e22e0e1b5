"""`kinemask track` over real services: what it writes, says and leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from kinemask.cli import server as cli_server
from kinemask.cli.up import Stack
from kinemask.video import VideoReader

from tests.cli.conftest import WITHIN_S, assert_all_gone
from tests.cli.track_kit import (
    audio_bytes,
    box_option,
    kinemask,
    left_beside,
    make_clip,
    read_run,
    truth,
)

FRAMES = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A gateway with everything that `track` may ask for behind it."""
    with Stack(["detector", "tracker", "segmenter", "gateway"], grace_s=2) as stack:
        yield stack.gateway_address


def test_a_boxed_object_is_covered_on_every_frame_and_nothing_else_changes(
    clip: Path, address: str, tmp_path: Path
) -> None:
    out, found = tmp_path / "out.mp4", tmp_path / "out.json"
    line = ["track", clip, "--box", box_option(), "-e", "solid", "--color", "00ff00"]
    ran = kinemask(*line, "-o", out, "--masks", found, "--server", address, "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["frames"] == FRAMES
    assert [(o["label"], o["frames"]) for o in told["objects"]] == [("box 1", FRAMES)]
    source, run = list(VideoReader(clip)), read_run(out, found)
    assert run.times_s == [frame.time_s for frame in source]
    assert audio_bytes(out) == audio_bytes(clip)
    for number, frame in enumerate(source):
        before, after = frame.image.astype(int), run.images[number].astype(int)
        inside = cv2.erode(truth(number).astype(np.uint8), np.ones((7, 7))).astype(bool)
        assert np.abs(after[inside] - (0, 255, 0)).mean() < 12, f"frame {number} is not covered"
        # Grown by a tenth of the object, and chroma bleeds over a pixel or two.
        around = cv2.dilate(run.masks[number].astype(np.uint8), np.ones((19, 19))).astype(bool)
        assert np.abs(after[~around] - before[~around]).mean() < 3, f"frame {number} changed"


def test_the_masks_are_a_file_that_pycocotools_reads(
    clip: Path, address: str, tmp_path: Path
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    found = tmp_path / "masks.json"
    line = ["track", clip, "--box", box_option(), "--point", "5,5", "--masks", found]
    ran = kinemask(*line, "--end", 10, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    assert left_beside(tmp_path, [found]) == []
    loaded = coco.COCO(str(found))
    assert sorted(loaded.imgs) == list(range(1, 11))
    boxes = [a for a in loaded.anns.values() if a["label"] == "box 1"]
    assert [a["image_id"] for a in boxes] == list(range(1, 11))
    assert len({a["track_id"] for a in boxes}) == 1
    assert loaded.cats[boxes[0]["category_id"]]["name"] == "box 1"
    for entry in boxes:
        mask, true = loaded.annToMask(entry).astype(bool), truth(entry["image_id"] - 1)
        assert (mask & true).sum() / (mask | true).sum() > 0.7


def test_a_prompt_may_come_on_a_later_frame(clip: Path, address: str, tmp_path: Path) -> None:
    found = tmp_path / "masks.json"
    line = ["track", clip, "--box", f"{box_option(7)}@7", "--masks", found, "--json"]
    ran = kinemask(*line, "--end", 12, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    [only] = json.loads(ran.stdout)["objects"]
    assert (only["first_frame"], only["last_frame"]) == (7, 11)
    assert "7 of 12 frames have no object at all (longest: 0 to 6)" in ran.stderr


def test_a_part_is_written_from_its_beginning_without_sound(
    clip: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "part.mp4"
    line = ["track", clip, "--box", box_option(5), "--start", 5, "--end", 15, "-o", out]
    ran = kinemask(*line, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    assert "the sound was left out" in ran.stderr
    part = VideoReader(out)
    assert not part.info.has_audio
    assert [frame.time_s for frame in part] == pytest.approx([n / 25 for n in range(10)])


def test_a_person_gets_tables(clip: Path, address: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    ran = kinemask("track", clip, "--box", box_option(), "-o", out, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert ["1", "box", "1", str(FRAMES), "0", str(FRAMES - 1), "-"] in lines
    assert any(line[:2] == ["segmenter", "flow"] for line in lines)
    stages = {line[0] for line in lines if line}
    assert {"video", "jpeg", "queue", "decode", "infer", "encode", "segment", "effect"} <= stages


@pytest.mark.parametrize(
    ("more", "code"),
    [
        pytest.param([], 3, id="an uncovered video is no success"),
        pytest.param(["--allow-empty"], 0, id="unless that was expected"),
    ],
)
def test_words_that_find_nothing_are_said_loudly(
    clip: Path, address: str, tmp_path: Path, more: list[str], code: int
) -> None:
    out = tmp_path / "out.mp4"
    line = ["track", clip, "--text", "face", "-e", "blur", "-o", out, "--server", address]
    ran = kinemask(*line, "--threshold", 1, *more)
    assert ran.exit_code == code, ran.stderr
    assert "NOTHING WAS FOUND, so nothing is hidden: no 'face' in any frame" in ran.stderr
    assert VideoReader(out).info.frame_count == FRAMES


def test_an_unknown_word_names_those_that_can_be_found(
    clip: Path, address: str, tmp_path: Path
) -> None:
    line = ["track", clip, "--text", "zebra", "-o", tmp_path / "out.mp4", "--server", address]
    ran = kinemask(*line)
    assert ran.exit_code == 2
    assert "face, person; it cannot find 'zebra'" in ran.stderr
    assert left_beside(tmp_path, []) == []


def test_a_video_that_is_cut_short_leaves_nothing(clip: Path, address: str, tmp_path: Path) -> None:
    cut, out = tmp_path / "cut.mp4", tmp_path / "out.mp4"
    cut.write_bytes(clip.read_bytes()[:-600])
    ran = kinemask("track", cut, "--box", box_option(), "-o", out, "--server", address)
    assert ran.exit_code == 1
    assert "cut.mp4: " in ran.stderr and "cut short" in ran.stderr
    assert left_beside(tmp_path, [cut]) == []


def test_a_server_that_is_not_there(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_server, "_ANSWERS_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    out = tmp_path / "out.mp4"
    ran = kinemask("track", clip, "--box", box_option(), "-o", out, "--server", nobody)
    assert ran.exit_code == 1
    assert f"no Kinemask gateway answers at {nobody}" in ran.stderr
    assert "kinemask up starts one" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_file_and_no_process(tmp_path: Path, number: int) -> None:
    clip = make_clip(tmp_path / "long.mp4", 600)
    before = list(tmp_path.iterdir())
    line = [sys.executable, "-m", "kinemask.cli", "track", str(clip), "--box", box_option()]
    process = subprocess.Popen(
        [*line, "-o", str(tmp_path / "out.mp4"), "--masks", str(tmp_path / "out.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "KINEMASK_SERVER"},
    )
    try:
        _wait_for(lambda: left_beside(tmp_path, before), process)
        children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(number)
        out, err = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err
    assert out == ""
    assert left_beside(tmp_path, before) == []
    assert len(children) == 2
    assert_all_gone(children)


def _wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    assert callable(condition)
    until_s = time.monotonic() + WITHIN_S
    pause = threading.Event()
    while not condition():
        assert process.poll() is None and time.monotonic() < until_s, "it never began to write"
        pause.wait(0.02)
