"""The demo's scene: what it shows, and that its truth is true."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemask.video import VideoReader

from demo.check import Timing, detail_left, timing_of
from demo.clip import write_clip
from demo.scene import FPS, FRAMES, HEIGHT_PX, WIDTH_PX, scene_frame

SOME = range(0, FRAMES, 20)


@pytest.mark.parametrize("index", SOME)
def test_a_face_is_found_where_the_truth_says_it_is(index: int) -> None:
    frame = scene_frame(index)
    assert frame.image.shape == (HEIGHT_PX, WIDTH_PX, 3) and frame.image.dtype == np.uint8
    cascade = cv2.CascadeClassifier(
        str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")  # type: ignore[attr-defined]  # missing from its types
    )
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    shares = [
        frame.face[y : y + h, x : x + w].sum() / frame.face.sum()
        for x, y, w, h in cascade.detectMultiScale(grey, 1.1, 5, minSize=(40, 40))
    ]
    assert max(shares, default=0) > 0.75


def test_the_face_is_the_persons_and_the_cup_is_behind() -> None:
    for index in SOME:
        frame = scene_frame(index)
        assert not (frame.face & ~frame.person).any()
        assert not (frame.cup & frame.person).any()


def test_things_move_and_change_their_size() -> None:
    frames = [scene_frame(index) for index in SOME]
    sizes = [frame.face.sum() for frame in frames]
    assert max(sizes) > 1.5 * min(sizes) and min(sizes) > 2000
    places = [np.argwhere(frame.face).mean(0)[1] for frame in frames]
    assert max(places) - min(places) > 200
    cups = [np.argwhere(frame.cup).mean(0)[1] for frame in frames if frame.cup.sum() > 2000]
    assert cups == sorted(cups) and cups[-1] - cups[0] > 500


def test_a_frame_is_the_same_at_every_call_and_there_are_no_others() -> None:
    assert np.array_equal(scene_frame(7).image, scene_frame(7).image)
    for index in (-1, FRAMES):
        with pytest.raises(IndexError, match=f"got {index}"):
            scene_frame(index)


def test_the_clip_has_its_rate_and_looks_like_the_scene(tmp_path: Path) -> None:
    clip = tmp_path / "new" / "clip.mp4"
    write_clip(clip, frames=10)
    frames = list(VideoReader(clip))
    assert [frame.time_s for frame in frames] == pytest.approx([i / FPS for i in range(10)])
    for index, frame in enumerate(frames):
        off = np.abs(frame.image.astype(int) - scene_frame(index).image)
        assert off.mean() < 4


def test_blurring_shows_as_lost_detail_and_copying_does_not(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, frames=3)
    assert list(detail_left(clip, clip)) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        pytest.param([0.0, 0.04], "", id="same"),
        pytest.param([0.0, 0.0405], "", id="rounded to another time base"),
        pytest.param([0.0], "2 frames in, 1 out", id="one lost"),
        pytest.param([0.0, 0.08], "frame 1 is at 0.0400 s in, at 0.0800 s out", id="one late"),
    ],
)
def test_timing_is_compared_frame_by_frame(times: list[float], complaint: str) -> None:
    assert Timing((0.0, 0.04)).differs_from(Timing(tuple(times))) == complaint


def test_the_times_of_a_file_are_read_from_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=3)
    assert timing_of(tmp_path / "clip.mp4").times_s == pytest.approx([0, 0.04, 0.08])
