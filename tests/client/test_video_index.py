"""The index of a file's frames, and frames from anywhere by it."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from kinemask.video import FrameIndex, IndexedReader, VideoReader, index_video

from tests.client.test_video import Source, make_video

FRAMES = 40


@pytest.fixture(
    params=[
        pytest.param((Source(pts=range(FRAMES)), "a.mp4"), id="B-frames, one key frame"),
        pytest.param((Source(pts=range(FRAMES), codec="mpeg4"), "a.mp4"), id="key frame every 12"),
        pytest.param((Source(pts=range(FRAMES), codec="mpeg4"), "a.avi"), id="no times"),
        pytest.param(
            (Source(pts=[n * n + 3 for n in range(FRAMES)], time_base=Fraction(1, 1000)), "a.mkv"),
            id="variable rate, not from 0",
        ),
        pytest.param((Source(pts=range(FRAMES), rotation_ccw=90), "a.mp4"), id="rotated"),
    ]
)
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    source, name = request.param
    return make_video(tmp_path / name, source)


def test_every_frame_is_the_one_that_is_read_in_order(video: Path) -> None:
    index = index_video(video).index
    in_order = list(VideoReader(video))
    assert index.frame_count == len(in_order)
    reader = IndexedReader(video, index)
    for number in (0, 1, 13, 25, 12, FRAMES - 1):
        found = reader.frame(number)
        assert found.index == number
        assert np.array_equal(found.image, in_order[number].image)
    ranged = list(reader.frames(11, 26))
    assert [f.index for f in ranged] == list(range(11, 27))
    assert all(np.array_equal(f.image, in_order[f.index].image) for f in ranged)
    assert reader.damaged() == []
    stopped = threading.Event()
    stopped.set()
    assert len(reader.damaged(stopped=stopped)) == len(in_order)  # it looked at none


def test_times_find_their_frames(video: Path) -> None:
    index = index_video(video).index
    assert [index.frame_at(index.time_us(n)) for n in range(FRAMES)] == list(range(FRAMES))
    assert index.frame_at(-1) is None
    assert index.frame_at(index.duration_us) is None
    assert index.frame_at(index.duration_us - 1) == FRAMES - 1


def test_an_index_survives_being_stored(video: Path) -> None:
    index = index_video(video).index
    again = FrameIndex.from_bytes(index.to_bytes())
    assert np.array_equal(again.pts, index.pts)
    assert np.array_equal(again.keyframes, index.keyframes)
    assert (again.time_base, again.end_pts) == (index.time_base, index.end_pts)
    assert again.seekable == index.seekable
    with pytest.raises(ValueError, match="expected"):
        FrameIndex.from_bytes(index.to_bytes()[:-1])


@pytest.mark.parametrize("frames", [(FRAMES, FRAMES), (5, 4), (-1, 3)])
def test_frames_that_are_not_there(frames: tuple[int, int], tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", Source(pts=range(FRAMES)))
    reader = IndexedReader(video, index_video(video).index)
    with pytest.raises(IndexError, match="there are 40"):
        reader.frames(*frames)
