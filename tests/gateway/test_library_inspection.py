"""What a file that comes in is taken for, and what each kind of bad file is told."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import grpc
import numpy as np
import pytest
from kinemask_chassis.errors import ServiceError
from kinemask_gateway.library.inspection import Inspection, inspect

from tests.client.test_video import Source, make_video

MAX_PIXELS = 50_000_000


def look(path: Path, salvage: bool = False, max_pixels: int = MAX_PIXELS) -> Inspection:
    return inspect(path, max_pixels=max_pixels, salvage=salvage)


def packet_span(path: Path, number: int) -> tuple[int, int]:
    """Where a packet's bytes are in the file."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        found = packets[number]
        assert found.pos is not None
        return found.pos, found.size


def damaged(path: Path, number: int) -> Path:
    """Overwrites one packet with noise."""
    position, size = packet_span(path, number)
    content = bytearray(path.read_bytes())
    content[position + 8 : position + size] = np.random.default_rng(1).bytes(size - 8)
    path.write_bytes(content)
    return path


def without_end(path: Path, container: str) -> Path:
    """A file whose index is at its begin, cut in the middle of its frames."""
    fast = path.with_name(f"cut.{container}")
    with (
        av.open(str(path)) as source,
        av.open(str(fast), "w", options={"movflags": "+faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    position, _ = packet_span(fast, 12)
    fast.write_bytes(fast.read_bytes()[:position])
    return fast


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(Source(), {"bit_depth": 8, "width": 96, "height": 64}, id="plain"),
        pytest.param(Source(pixel_format="yuv420p10le"), {"bit_depth": 10}, id="10-bit"),
        pytest.param(
            Source(rotation_ccw=90), {"width": 64, "height": 96, "rotation_deg": 270}, id="rotated"
        ),
        pytest.param(
            Source(pts=(0, 1, 5, 6, 20), time_base=Fraction(1, 25)),
            {"variable_frame_rate": True, "frame_count": 5},
            id="variable frame rate",
        ),
        pytest.param(
            Source(width=97, height=63, pixel_format="yuv444p"),
            {"width": 97, "height": 63},
            id="odd size",
        ),
        pytest.param(
            Source(width=7680, height=4320, pts=(0, 1)), {"width": 7680, "height": 4320}, id="8K"
        ),
    ],
)
def test_facts_of_every_kind_of_video(
    source: Source, expected: dict[str, object], tmp_path: Path
) -> None:
    found = look(make_video(tmp_path / "a.mp4", source))
    assert {name: getattr(found.facts, name) for name in expected} == expected
    assert found.media_type == "video/mp4"
    assert found.facts.frame_count == found.index.frame_count == len(source.pts)
    assert found.facts.damage == ()
    assert found.facts.frame_count_exact


def test_audio_tracks_are_told(tmp_path: Path) -> None:
    facts = look(make_video(tmp_path / "a.mp4", Source(audio_codec="aac"))).facts
    (track,) = facts.audio_tracks
    assert (track.codec, track.channels, track.sample_rate_hz) == ("aac", 1, 48_000)


def rubbish(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(10_000))
    return path


def empty(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.touch()
    return path


def picture(folder: Path) -> Path:
    path = folder / "a.png"
    cv2.imwrite(str(path), np.zeros((32, 32, 3), np.uint8))
    return path


def playlist(folder: Path) -> Path:
    inner = make_video(folder / "inner.mp4", Source())
    path = folder / "a.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{inner}\n#EXT-X-ENDLIST\n")
    return path


def sound(folder: Path) -> Path:
    path = folder / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path


def headless(folder: Path) -> Path:
    path = make_video(folder / "a.mp4", Source())  # its index is at its end
    path.write_bytes(path.read_bytes()[:-400])
    return path


def too_large(folder: Path) -> Path:
    return make_video(folder / "a.mp4", Source(width=8000, height=8000, pts=(0,)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(rubbish, "NOT_A_VIDEO", id="rubbish"),
        pytest.param(empty, "NOT_A_VIDEO", id="zero-length"),
        pytest.param(picture, "NOT_A_VIDEO", id="picture"),
        pytest.param(playlist, "NOT_A_VIDEO", id="playlist that names another file"),
        pytest.param(sound, "NO_VIDEO_TRACK", id="audio only"),
        pytest.param(headless, "DAMAGED", id="cut off before its index"),
        pytest.param(too_large, "TOO_MANY_PIXELS", id="too large"),
    ],
)
def test_what_is_no_video_is_refused(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError) as caught:
        look(make(tmp_path), salvage=True)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_cut_off_video_is_refused_or_salvaged(container: str, tmp_path: Path) -> None:
    cut = without_end(make_video(tmp_path / "a.mp4", Source()), container)
    with pytest.raises(ServiceError, match="bytes are missing at its end") as caught:
        look(cut)
    assert caught.value.reason == "DAMAGED"
    found = look(cut, salvage=True)
    assert found.facts.truncated
    assert 0 < found.facts.frame_count == found.index.frame_count <= 12


def test_a_damaged_frame_is_refused_or_named(tmp_path: Path) -> None:
    path = damaged(make_video(tmp_path / "a.mp4", Source(width=320, height=192)), 10)
    with pytest.raises(ServiceError, match=r"frame \d+ is damaged"):
        look(path)
    facts = look(path, salvage=True).facts
    assert len(facts.damage) == 1
    assert facts.frame_count == 20


def test_a_video_whose_first_frame_is_damaged_is_refused(tmp_path: Path) -> None:
    path = damaged(make_video(tmp_path / "a.mp4", Source(width=320, height=192)), 0)
    with pytest.raises(ServiceError, match="its first frame cannot be decoded") as caught:
        look(path, salvage=True)
    assert caught.value.reason == "DAMAGED"
