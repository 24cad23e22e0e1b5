"""Reading and writing video files, on sources made here with PyAV."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from kinemask.video import VideoError, VideoReader, VideoWriter, probe_video
from kinemask.video._encoder import Mp4Encoder

Image = npt.NDArray[np.uint8]
CLIPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "clips"
RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 190, 40), (40, 40, 200), (128, 128, 128)


@dataclass(frozen=True)
class Source:
    """How a source file is made."""

    width: int = 96
    height: int = 64
    pts: Sequence[int] = tuple(range(20))
    time_base: Fraction = Fraction(1, 25)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    rotation_ccw: int | None = None
    matrix: int = 6
    full_range: bool = False
    audio_codec: str | None = None


def quadrants(width: int, height: int, level: int) -> Image:
    """Red, green / blue, a grey that tells the frame's index: no symmetry."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, level
    return image


def add_audio(output: av.container.OutputContainer, codec: str) -> Callable[[], None]:
    stream = output.add_stream(codec, rate=48000)
    assert isinstance(stream, av.AudioStream)
    stream.layout, stream.bit_rate = "mono", 64_000

    def write() -> None:
        for i in range(40):
            tone = np.sin(np.arange(1024) / 20 + i) * 0.3
            samples = tone.astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, i * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    return write


def make_video(path: Path, source: Source) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream(source.codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = source.width, source.height
        stream.pix_fmt = source.pixel_format
        context = stream.codec_context
        context.time_base = source.time_base
        context.colorspace, context.color_range = source.matrix, 2 if source.full_range else 1
        if source.rotation_ccw is not None:
            stream.set_display_rotation(source.rotation_ccw)
        write_audio = add_audio(output, source.audio_codec) if source.audio_codec else None
        for index, pts in enumerate(source.pts):
            image = quadrants(source.width, source.height, 40 + 8 * index % 216)
            rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = rgb.reformat(
                format=source.pixel_format,
                dst_colorspace=source.matrix,
                dst_color_range=2 if source.full_range else 1,
            )
            frame.pts, frame.time_base = pts, source.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if write_audio:
            write_audio()
    return path


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(frame.pts or 0) * (frame.time_base or Fraction(0)) for frame in frames]


def audio_of(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        packets = list(container.demux(audio=0))
        return [(p.pts * p.time_base, bytes(p)) for p in packets if p.pts is not None]


def copy_video(source: Path, target: Path, with_audio: bool = True) -> None:
    reader = VideoReader(source, exact_color=True)
    audio_from = source if with_audio else None
    with VideoWriter(target, like=reader.info, audio_from=audio_from) as writer:
        for frame in reader:
            writer.write(frame.image, pts=frame.pts, duration=frame.duration)


def assert_quadrants(image: Image, level: int, tolerance: int = 8) -> None:
    """The middle of each quadrant shows its colour."""
    height, width = image.shape[:2]
    for row, column, color in ((1, 1, RED), (1, 3, GREEN), (3, 1, BLUE), (3, 3, (level,) * 3)):
        found = image[height * row // 4, width * column // 4].astype(int)
        assert np.abs(found - color).max() <= tolerance, (row, column, found, color)


@pytest.mark.parametrize("prefetch_frames", [0, 1, 4])
def test_every_frame_comes_once_in_order(tmp_path: Path, prefetch_frames: int) -> None:
    path = make_video(tmp_path / "a.mp4", Source())
    reader = VideoReader(path, prefetch_frames=prefetch_frames)
    assert (reader.info.width, reader.info.height, reader.info.frame_count) == (96, 64, 20)
    assert (reader.info.fps, reader.info.codec, reader.info.has_audio) == (25, "h264", False)
    assert reader.info.duration_s == pytest.approx(0.8)
    for _ in range(2):  # a reader starts over each time
        frames = list(reader)
        assert [frame.index for frame in frames] == list(range(20))
        assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(20)])
        for frame in frames:
            assert_quadrants(frame.image, 40 + 8 * frame.index)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source(pixel_format="yuv420p10le"), id="10 bits"),
        pytest.param(Source(pixel_format="yuv444p", width=97, height=63), id="odd size"),
        pytest.param(Source(matrix=1), id="bt.709"),
        pytest.param(Source(matrix=6), id="bt.601"),
        pytest.param(Source(matrix=9, pixel_format="yuv420p10le"), id="bt.2020"),
        pytest.param(Source(full_range=True), id="full range"),
        pytest.param(Source(height=720, width=960, matrix=1), id="hd"),
    ],
)
def test_colours_are_right_and_stay_right(tmp_path: Path, source: Source) -> None:
    path = make_video(tmp_path / "a.mp4", source)
    for exact_color in (False, True):
        frame = next(iter(VideoReader(path, exact_color=exact_color)))
        assert frame.image.shape == (source.height, source.width, 3)
        assert_quadrants(frame.image, 40)
    copy_video(path, tmp_path / "b.mp4")
    assert probe_video(tmp_path / "b.mp4").color.matrix == source.matrix
    for frame in VideoReader(tmp_path / "b.mp4"):
        assert_quadrants(frame.image, 40 + 8 * frame.index)


@pytest.mark.parametrize(
    ("rotation_ccw", "clockwise"),
    [
        pytest.param(90, 270, id="left"),
        pytest.param(-90, 90, id="right, as phones write it"),
        pytest.param(180, 180, id="upside down"),
    ],
)
def test_rotation_is_applied_and_gone_after_writing(
    tmp_path: Path, rotation_ccw: int, clockwise: int
) -> None:
    path = make_video(tmp_path / "a.mp4", Source(rotation_ccw=rotation_ccw))
    info = probe_video(path)
    assert info.rotation == clockwise
    assert (info.width, info.height) == ((96, 64) if clockwise == 180 else (64, 96))
    copy_video(path, tmp_path / "b.mp4")
    assert probe_video(tmp_path / "b.mp4").rotation == 0
    for file in (path, tmp_path / "b.mp4"):
        for frame in VideoReader(file):
            assert frame.image.shape == (info.height, info.width, 3)
            assert_quadrants(np.rot90(frame.image, clockwise // 90), 40 + 8 * frame.index)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source(audio_codec="aac"), id="constant rate"),
        pytest.param(
            Source(pts=[0, 40, 55, 200, 207, 1000], time_base=Fraction(1, 1000), audio_codec="aac"),
            id="variable rate",
        ),
        pytest.param(
            Source(pts=[500, 540, 580, 700], time_base=Fraction(1, 1000), audio_codec="aac"),
            id="starts after the audio",
        ),
        pytest.param(
            Source(time_base=Fraction(1001, 30000), audio_codec="aac"), id="rate of 29.97"
        ),
        pytest.param(Source(audio_codec="libopus"), id="opus audio"),
    ],
)
def test_a_copy_keeps_times_and_audio(tmp_path: Path, source: Source) -> None:
    path, target = make_video(tmp_path / "a.mp4", source), tmp_path / "b.mp4"
    copy_video(path, target)
    assert times_of(target) == times_of(path)
    assert len(times_of(path)) == len(source.pts)
    assert audio_of(target) == audio_of(path)
    assert probe_video(target).duration_s == pytest.approx(probe_video(path).duration_s or 0)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi", ".webm"])
def test_other_containers_become_mp4(tmp_path: Path, suffix: str) -> None:
    codec, audio = {".webm": ("libvpx", "libopus"), ".avi": ("mpeg4", "mp3")}.get(
        suffix, ("libx264", "aac")
    )
    path = make_video(tmp_path / f"a{suffix}", Source(codec=codec, audio_codec=audio))
    copy_video(path, tmp_path / "b.mp4")
    assert len(times_of(tmp_path / "b.mp4")) == 20
    assert times_of(tmp_path / "b.mp4") == pytest.approx(times_of(path))
    assert [data for _, data in audio_of(tmp_path / "b.mp4")] == [d for _, d in audio_of(path)]


def test_what_is_written_plays_in_browsers(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source(pixel_format="yuv444p10le"))
    copy_video(path, tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # plays before it is all there
    with av.open(str(tmp_path / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.color_range) == ("h264", "yuv420p", 1)


def test_odd_sizes_grow_by_a_repeated_pixel(tmp_path: Path) -> None:
    image = quadrants(97, 63, 90)
    with VideoWriter(tmp_path / "b.mp4", width=97, height=63, fps=25, crf=0) as writer:
        for _ in range(3):
            writer.write(image)
    frames = list(VideoReader(tmp_path / "b.mp4", exact_color=True))
    assert [frame.image.shape for frame in frames] == [(64, 98, 3)] * 3
    assert np.abs(frames[0].image[20, 97].astype(int) - GREEN).max() <= 8
    assert np.abs(frames[0].image[63, 20].astype(int) - BLUE).max() <= 8


def test_audio_can_be_left_out(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source(audio_codec="aac"))
    assert probe_video(path).has_audio
    copy_video(path, tmp_path / "b.mp4", with_audio=False)
    assert not probe_video(tmp_path / "b.mp4").has_audio


def test_the_image_may_be_changed_after_it_was_written(tmp_path: Path) -> None:
    image = quadrants(96, 64, 90)
    with VideoWriter(tmp_path / "b.mp4", width=96, height=64, fps=Fraction(30)) as writer:
        writer.write(image)
        image[:] = 0
    assert_quadrants(next(iter(VideoReader(tmp_path / "b.mp4"))).image, 90)


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "b.mp4", width=96, height=64, fps=25) as writer,
    ):
        writer.write(quadrants(96, 64, 90))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_older_target(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"older")
    writer = VideoWriter(tmp_path / "b.mp4", width=96, height=64, fps=25)
    with pytest.raises(VideoError, match=r"b\.mp4: no frames were written"):
        writer.close()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"older"]


def test_audio_that_cannot_be_copied_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "a.mp4", Source())
    whole = make_video(tmp_path / "c.asf", Source(audio_codec="wmav2"))
    with pytest.raises(VideoError, match=r"c\.asf: its wmav2 audio cannot be copied into mp4"):
        VideoWriter(tmp_path / "b.mp4", like=probe_video(silent), audio_from=whole)
    with pytest.raises(VideoError, match="audio cannot be opened"):
        VideoWriter(tmp_path / "b.mp4", like=probe_video(silent), audio_from=tmp_path / "none")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "c.asf"]


def test_an_encoder_error_is_raised_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Mp4Encoder, frame: av.VideoFrame) -> None:
        raise VideoError(tmp_path / "b.mp4", f"no space left at {frame.pts}")

    monkeypatch.setattr(Mp4Encoder, "encode", full)
    writer = VideoWriter(tmp_path / "b.mp4", width=96, height=64, fps=25, queue_frames=1)
    with pytest.raises(VideoError, match="no space left at 0"), writer:
        for _ in range(10):  # many more than the queue holds: an error must not block it
            writer.write(quadrants(96, 64, 90))
    assert list(tmp_path.iterdir()) == []


def test_a_video_may_replace_its_own_source(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source(audio_codec="aac"))
    times, audio = times_of(path), audio_of(path)
    copy_video(path, path)
    assert (times_of(path), audio_of(path)) == (times, audio)


def test_a_killed_writer_leaves_no_target(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from kinemask.video import VideoWriter\n"
        "writer = VideoWriter(sys.argv[1], width=96, height=64, fps=25)\n"
        "for i in range(50): writer.write(np.zeros((64, 96, 3), np.uint8))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "b.mp4")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "b.mp4").exists()
    assert all(file.suffix == ".part" for file in tmp_path.iterdir())


def test_writer_says_what_it_wants(tmp_path: Path) -> None:
    target = tmp_path / "b.mp4"
    with pytest.raises(ValueError, match="width, height and fps over 0"):
        VideoWriter(target, width=3)
    with pytest.raises(ValueError, match="crf of 0"):
        VideoWriter(target, width=96, height=64, fps=25, crf=70)
    with pytest.raises(ValueError, match="preset of ultrafast"):
        VideoWriter(target, width=96, height=64, fps=25, preset="quick")
    with pytest.raises(ValueError, match=r"target in \.mp4"):
        VideoWriter(tmp_path / "b.gif", width=96, height=64, fps=25)
    with pytest.raises(VideoError, match="no such folder"):
        VideoWriter(tmp_path / "none" / "b.mp4", width=96, height=64, fps=25)
    with VideoWriter(target, width=96, height=64, fps=25) as writer:
        writer.write(quadrants(96, 64, 9), pts=5)
        with pytest.raises(ValueError, match="after 5, found 5"):
            writer.write(quadrants(96, 64, 9), pts=5)
        with pytest.raises(ValueError, match=r"\(64, 96, 3\) uint8, found \(64, 95, 3\)"):
            writer.write(quadrants(95, 64, 9))
    with pytest.raises(VideoError, match="closed already"):
        writer.write(quadrants(96, 64, 9))


def faststart(source: Path, target: Path) -> bytes:
    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options={"movflags": "+faststart"}) as write,
    ):
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                write.mux_one(packet)
    return target.read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_cut_short_gives_its_frames_and_then_an_error(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / "a.mp4", Source(pts=range(100)))
    data = faststart(source, tmp_path / f"b{suffix}")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) * 3 // 5])
    seen = []
    with pytest.raises(VideoError, match=rf"cut{suffix}: .*cut short after \d+ frames"):
        for frame in VideoReader(cut):
            seen.append(frame.index)
    assert 10 < len(seen) < 100
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".mov"])
def test_every_cut_is_found(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    data = make_video(tmp_path / f"a{suffix}", Source(codec=codec)).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in (*range(0, len(data), len(data) // 30), len(data) - 1):
        cut.write_bytes(data[:length])
        with pytest.raises(VideoError, match=rf"cut{suffix}: "):
            list(VideoReader(cut))


def test_a_live_recording_of_unknown_length_is_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", Source())
    data = bytearray(path.read_bytes())
    size_at = data.index(b"\x18\x53\x80\x67") + 4
    assert data[size_at] == 1  # a size of eight bytes
    data[size_at : size_at + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data[:-5])
    assert len(list(VideoReader(path, prefetch_frames=0))) == 20


def test_metadata_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        output.metadata["title"] = "caffeine"
        stream = output.add_stream("mpeg4", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        image = quadrants(96, 64, 90)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"caffeine", b"caf\xe9\xff\xfe!!"))
    assert probe_video(path).codec == "mpeg4"


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as output:
        add_audio(output, "aac")()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "no such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "not a file", id="a folder"),
        pytest.param(lambda path: path.touch(), "the file is empty", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"hello" * 99), "cannot be opened", id="text"),
        pytest.param(
            lambda path: path.write_bytes(bytes(range(256)) * 40), "cannot be opened", id="noise"
        ),
        pytest.param(audio_only, "expected a video stream, found audio", id="audio only"),
    ],
)
def test_what_is_no_video_is_said(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(VideoError, match=rf"bad\.mp4: .*{message}") as caught:
        VideoReader(path)
    assert caught.value.path == path


def test_the_pixel_limit_holds(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source())
    with pytest.raises(VideoError, match="96x64 pixels, the limit is 6000"):
        VideoReader(path, max_pixels=6000)


def test_leaving_early_stops_the_thread(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Source())
    frames = iter(VideoReader(path, prefetch_frames=2))
    next(frames)
    names = [thread.name for thread in threading.enumerate()]
    assert "kinemask-prefetch" in names
    del frames
    assert "kinemask-prefetch" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        pytest.param("hamilton.mp4", 275, id="whole, starting late"),
        pytest.param("dog.mp4", 30, id="part, audio starting before 0, a data stream"),
    ],
)
def test_real_clips_round_trip(tmp_path: Path, name: str, frames: int) -> None:
    source, target = CLIPS / name, tmp_path / "b.mp4"
    if not source.exists():
        pytest.skip(f"no {source}: measurement data is not here")
    reader = VideoReader(source)
    with VideoWriter(target, like=reader.info, audio_from=source, preset="ultrafast") as writer:
        for frame in itertools.islice(reader, frames):
            writer.write(frame.image, pts=frame.pts, duration=frame.duration)
    assert times_of(target) == times_of(source)[:frames]
    assert audio_of(target) == audio_of(source)
