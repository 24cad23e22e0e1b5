"""Frames as planes, encoded in chunks and joined: the same pictures, times and sound."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kinemask.video import (
    ChunkEncoder,
    ChunkJoiner,
    CopiedAudio,
    EncodedChunk,
    EncoderSettings,
    FrameIndex,
    IndexedReader,
    PlanarFrame,
    VideoError,
    VideoReader,
    black_frame,
    encoder_parameters,
    index_video,
)

from tests.client.test_video import Source, audio_of, make_video, times_of

VARIABLE = (7, 9, 14, 15, 16, 30, 31, 60, 61, 62, 63, 70, 71, 90, 91, 92, 100, 101, 130, 131)


def opened(path: Path) -> tuple[IndexedReader, FrameIndex]:
    index = index_video(path).index
    return IndexedReader(path, index, prefetch_frames=0), index


def settings_of(reader: IndexedReader) -> EncoderSettings:
    info = reader.info
    rate = info.average_rate or Fraction(25)
    return EncoderSettings(
        *(info.width, info.height, rate, info.time_base),
        *(info.color, info.pixel_aspect, 10, "veryfast"),
    )


def encoded(path: Path, first: int, last: int) -> EncodedChunk:
    reader, index = opened(path)
    encoder = ChunkEncoder(settings_of(reader), path)
    for frame in reader.planar_frames(first, last):
        assert frame is not None
        encoder.encode(frame.sealed(), int(index.pts[frame.index]), 1)
    return encoder.finish()


def joined(target: Path, source: Path, chunks: list[EncodedChunk], sound: bool = False) -> Path:
    reader, index = opened(source)
    audio = CopiedAudio(source) if sound else None
    joiner = ChunkJoiner(target, settings_of(reader), index.pts, index.end_pts, audio)
    for chunk in chunks:
        joiner.add(EncodedChunk.from_bytes(chunk.to_bytes()))
    joiner.finish()
    return target


@pytest.mark.parametrize(
    ("source", "cuts"),
    [
        pytest.param(Source(), (0, 7, 8, 20), id="even steps, one chunk of a single frame"),
        pytest.param(Source(pts=VARIABLE), (0, 10, 20), id="a variable rate that begins late"),
        pytest.param(Source(pts=[0]), (0, 1), id="one frame"),
        pytest.param(Source(width=97, height=63, codec="mpeg4"), (0, 9, 20), id="odd"),
        pytest.param(Source(rotation_ccw=90), (0, 9, 20), id="turned"),
        pytest.param(
            Source(time_base=Fraction(1001, 30000)), (0, 5, 20), id="a rate of a thousandth less"
        ),
    ],
)
def test_chunks_join_to_one_clean_stream(
    tmp_path: Path, source: Source, cuts: tuple[int, ...]
) -> None:
    path = make_video(tmp_path / "a.mp4", source)
    chunks = [encoded(path, a, b - 1) for a, b in itertools.pairwise(cuts)]
    target = joined(tmp_path / "b.mp4", path, chunks)
    assert times_of(target) == times_of(path)
    expected = list(VideoReader(path, exact_color=True))
    found = list(VideoReader(target, exact_color=True))
    assert len(found) == len(expected)
    for before, after in zip(expected, found, strict=True):
        height, width = before.image.shape[:2]
        assert after.image.shape == (height + height % 2, width + width % 2, 3)
        difference = np.abs(after.image[:height, :width].astype(int) - before.image)
        assert np.median(difference) <= 3
        assert np.percentile(difference, 90) <= 12
    keys = index_video(target).index.keyframes
    assert set(cuts[:-1]) <= set(keys.tolist())
    assert joined(tmp_path / "c.mp4", path, chunks).read_bytes() == target.read_bytes()


def test_what_a_chunk_becomes_depends_on_its_frames_alone(tmp_path: Path) -> None:
    """Whatever lies in the memory that the encoder is given."""
    path = make_video(tmp_path / "a.mp4", Source(pts=range(40)))
    made = set()
    for number in range(6):
        junk = [np.full(size, 50 * number, np.uint8) for size in range(2_000, 60_000, 500)]
        del junk
        made.add(encoded(path, 0, 39).to_bytes())
    assert len(made) == 1


def test_sound_is_carried_over_packet_by_packet(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source(audio_codec="aac"))
    chunks = [encoded(path, 0, 9), encoded(path, 10, 19)]
    target = joined(tmp_path / "b.mp4", path, chunks, sound=True)
    assert audio_of(target) == audio_of(path)
    assert times_of(target) == times_of(path)


def test_a_range_has_its_own_sound(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source(audio_codec="aac"))
    reader, index = opened(path)
    first, last = 5, 14
    start = int(index.pts[first])
    end = int(index.pts[last + 1])
    encoder = ChunkEncoder(settings_of(reader), path)
    for frame in reader.planar_frames(first, last):
        assert frame is not None
        encoder.encode(frame.sealed(), int(index.pts[frame.index]) - start, 1)
    base = index.time_base
    audio = CopiedAudio(path, start * base, end * base)
    pts = index.pts[first : last + 1] - start
    target = tmp_path / "b.mp4"
    joiner = ChunkJoiner(target, settings_of(reader), pts, end - start, audio)
    joiner.add(encoder.finish())
    joiner.finish()
    assert times_of(target)[0] == 0
    wanted = [(t - start * base, d) for t, d in audio_of(path) if start * base <= t < end * base]
    assert len(wanted) > 10
    found = audio_of(target)
    assert [data for _, data in found] == [data for _, data in wanted]
    assert [t for t, _ in found] == pytest.approx([t for t, _ in wanted], abs=1e-4)


def test_chunks_of_another_encoder_are_not_joined(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source())
    other = make_video(tmp_path / "b.mp4", Source(width=128))
    with pytest.raises(ValueError, match="another"):
        joined(tmp_path / "c.mp4", path, [encoded(other, 0, 19)])
    with pytest.raises(ValueError, match="expected 20 frames, got 10"):
        joined(tmp_path / "c.mp4", path, [encoded(path, 0, 9)])
    with pytest.raises(ValueError, match="got more"):
        joined(tmp_path / "c.mp4", path, [encoded(path, 0, 19), encoded(path, 0, 19)])
    chunk = encoded(path, 0, 4)
    assert chunk.parameters == encoder_parameters(settings_of(opened(path)[0]))
    for bad in (b"", b"KMCH\x01", chunk.to_bytes()[:-1], b"x" * 100):
        with pytest.raises(ValueError, match="expected"):
            EncodedChunk.from_bytes(bad)


def test_sound_that_mp4_does_not_take_is_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.asf", Source(audio_codec="wmav2"))
    with pytest.raises(VideoError, match="wmav2"):
        joined(tmp_path / "c.mp4", path, [], sound=True)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source(), id="4:2:0"),
        pytest.param(Source(pixel_format="yuv422p"), id="4:2:2"),
        pytest.param(Source(pixel_format="yuv444p"), id="4:4:4"),
        pytest.param(Source(pixel_format="yuv420p10le"), id="10 bits"),
        pytest.param(Source(full_range=True), id="full range"),
        pytest.param(Source(matrix=1), id="BT.709"),
        pytest.param(Source(codec="libx264rgb", pixel_format="rgb24", matrix=0), id="RGB"),
        pytest.param(Source(width=97, height=63, codec="mpeg4"), id="odd"),
        pytest.param(Source(rotation_ccw=90), id="turned left"),
        pytest.param(Source(rotation_ccw=180), id="upside down"),
        pytest.param(Source(rotation_ccw=-90, width=97, height=63, codec="mpeg4"), id="odd, right"),
    ],
)
def test_planes_show_what_rgb_shows(tmp_path: Path, source: Source) -> None:
    path = make_video(tmp_path / "a.mp4", source)
    reader, _ = opened(path)
    expected = list(VideoReader(path, exact_color=True))
    found = list(reader.planar_frames(3, 6))
    assert [frame.index for frame in found if frame is not None] == [3, 4, 5, 6]
    for frame in found:
        assert frame is not None
        assert not frame.damaged
        difference = np.abs(_rgb(frame).astype(int) - expected[frame.index].image)
        assert np.median(difference) <= 3
        assert np.percentile(difference, 90) <= 8  # edges of the quadrants, in halved colours


def _rgb(frame: PlanarFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = frame.sealed()
    matrix = frame.planes.matrix
    rgb = picture.reformat(format="rgb24", src_colorspace=matrix, src_color_range=1)
    height, width = frame.planes.y.shape
    return np.asarray(rgb.to_ndarray()[:height, :width], np.uint8)


def test_frames_that_are_not_there_leave_gaps(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source())
    index = index_video(path).index
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        where = [p for p in packets if p.pts is not None and not p.is_keyframe]
    content = bytearray(path.read_bytes())
    victim = where[-1]
    assert victim.pos is not None
    content[victim.pos : victim.pos + victim.size] = b"\xff" * victim.size
    path.write_bytes(content)
    reader = IndexedReader(path, index, prefetch_frames=0)
    found = list(reader.planar_frames(0, 19))
    assert len(found) == 20
    missing = [number for number, frame in enumerate(found) if frame is None or frame.damaged]
    assert missing
    assert all(f.index == n for n, f in enumerate(found) if f is not None)
    black = black_frame(4, reader.info)
    assert (black.index, black.planes.y.max(), black.damaged) == (4, 16, True)
