"""`kinemask track` when a service fails under it, and what its report makes of that."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from kinemask.cli.track.tally import Gap, Tally
from kinemask.errors import UnavailableError
from kinemask.results import LiveFrame, StageReport
from kinemask.types import Box, LiveObject, Timing
from kinemask_chassis import errors

from tests.cli.track_kit import box_option, kinemask, left_beside, make_clip
from tests.gateway.live_kit import gateway, world

FRAMES = 12
BOX = (10.0, 10.0, 40.0, 40.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


async def test_a_frame_that_fails_is_never_written_uncovered(clip: Path, tmp_path: Path) -> None:
    line = ["track", clip, "--box", box_option(), "-e", "blur", "-o", tmp_path / "out.mp4"]
    async with world() as everything:
        everything.engine.controls.fail_on = {5}
        server = everything.live.server.address
        ran = await asyncio.to_thread(kinemask, *line, "--server", server)
    assert ran.exit_code == 1, ran.stderr
    assert "frame 5 could not be worked on, so nothing was written" in ran.stderr
    assert left_beside(tmp_path, []) == []


async def test_a_detector_that_always_fails_is_a_failure(clip: Path, tmp_path: Path) -> None:
    line = ["track", clip, "--text", "thing", "-e", "blur", "-o", tmp_path / "out.mp4"]
    async with world(lambda _: [BOX]) as everything:
        everything.detector.failing = errors.unavailable("no weights", reason="X")
        server = everything.live.server.address
        ran = await asyncio.to_thread(kinemask, *line, "--allow-empty", "--server", server)
    assert ran.exit_code == 1, ran.stderr
    assert "the detector failed on every frame" in ran.stderr and "no weights" in ran.stderr
    assert left_beside(tmp_path, []) == []


async def test_words_without_a_detector_fail_before_any_frame(clip: Path, tmp_path: Path) -> None:
    line = ["track", clip, "--text", "thing", "-o", tmp_path / "out.mp4"]
    async with world() as everything:
        without = {k: v for k, v in everything.addresses.items() if k != "detector_addresses"}
        async with gateway(**without) as live:
            ran = await asyncio.to_thread(kinemask, *line, "--server", live.server.address)
    assert ran.exit_code == 1, ran.stderr
    assert "the detect stage is down" in ran.stderr
    assert left_beside(tmp_path, []) == []


async def test_words_that_find_something_are_a_success(clip: Path, tmp_path: Path) -> None:
    line = ["track", clip, "--text", "thing", "-o", tmp_path / "out.mp4", "--json"]
    async with world(lambda _: [BOX]) as everything:
        server = everything.live.server.address
        ran = await asyncio.to_thread(kinemask, *line, "--every", 3, "--server", server)
    assert ran.exit_code == 0, ran.stderr
    # The services log to the same standard output, because they run in this process.
    [told] = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert {(o["label"], o["prompt"]) for o in told["objects"]} == {("thing", "thing")}
    assert told["found_nothing"] is False
    assert {"detector", "tracker", "segmenter", "gateway"} == set(told["services"])
    assert {"detect", "track", "segment"} <= set(told["stages_ms"])


def _frame(number: int, *object_ids: int, stages: tuple[StageReport, ...] = ()) -> LiveFrame:
    found = [
        LiveObject(i, 0.9, Box(0, 0, 2, 2), 4, label="face", prompt="Face") for i in object_ids
    ]
    return LiveFrame(number, objects=tuple(found), stages=stages, width=4, height=4)


def test_losses_and_empty_frames_are_counted_with_the_longest_run() -> None:
    tally = Tally()
    for number, ids in enumerate([(), (1,), (), (1, 2), (), (), (1,), ()]):
        tally.add(_frame(number, *ids))
    tally.finish()
    assert tally.empty == Gap(5, (4, 5))
    one, two = tally.objects[1], tally.objects[2]
    assert (one.frames, one.first_frame, one.last_frame) == (3, 1, 6)
    assert one.lost == Gap(3, (4, 5))
    assert two.lost == Gap()


def test_words_are_matched_whatever_their_case() -> None:
    tally = Tally()
    tally.add(_frame(0, 1))
    assert tally.words_that_found_nothing(("face", "car")) == ["car"]


def test_degraded_stages_are_counted_with_their_first_reason() -> None:
    tally = Tally()
    good = StageReport("detect", 10.0, Timing(1, 2, 3, 4))
    bad = StageReport("detect", 20.0, Timing(), UnavailableError("gone"))
    worse = StageReport("detect", 30.0, Timing(), UnavailableError("still gone"))
    for number, report in enumerate((good, bad, worse)):
        tally.add(_frame(number, stages=(report,)))
    assert (tally.degraded["detect"].frames, tally.degraded["detect"].why) == (2, "gone")
    assert tally.stages["detect"].mean_ms == 20
    assert tally.inside["infer"].mean_ms == 1
    assert not tally.detector_never_answered
