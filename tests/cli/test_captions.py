"""`kinemask caption`, and captions in `kinemask track`, over real services and a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinemask import images
from kinemask.cli.track import captions as track_captions
from kinemask.cli.up import Stack

from tests.cli.track_kit import box_option, clip_frame, kinemask, make_clip

pytest.importorskip("transformers", reason="captioning models need transformers")

FRAMES = 12
SERVICES = ["segmenter", "captioner", "gateway"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.captioner.tiny_models import tiny_blip

    folder = tmp_path_factory.mktemp("data")
    tiny_blip(folder / "models" / "blip-image-captioning-base")
    return folder


@pytest.fixture(scope="module")
def address(data: Path) -> Iterator[str]:
    with Stack(SERVICES, environment={"KINEMASK_DATA_DIR": str(data)}, grace_s=2) as stack:
        yield stack.gateway_address


@pytest.fixture(scope="module")
def bare_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same without any weights."""
    empty = {"KINEMASK_DATA_DIR": str(tmp_path_factory.mktemp("empty"))}
    with Stack(SERVICES, environment=empty, grace_s=2) as stack:
        yield stack.gateway_address


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"picture{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(images.encode_png(clip_frame(10 * number)))
    return paths


def test_one_picture_is_its_words_and_nothing_else(address: str, tmp_path: Path) -> None:
    (picture,) = pictures(tmp_path, 1)
    lengths = ["--min-length", 6, "--max-length", 6]
    ran = kinemask("caption", picture, *lengths, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1 and ran.stdout.strip()
    assert "a larger --max-length lets it end" in ran.stderr


def test_many_pictures_are_told_by_name_in_order(address: str, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 10)
    line = ["caption", *paths, "--beams", 2, "--max-length", 5, "--min-length", 5]
    told = kinemask(*line, "--server", address, "--json")
    assert told.exit_code == 0, told.stderr
    found = json.loads(told.stdout)["images"]
    assert [entry["image"] for entry in found] == [str(path) for path in paths]
    for entry in found:
        assert (entry["model"], entry["tokens"]) == ("blip-image-captioning-base", 5)
        assert entry["truncated"] and 0 < entry["score"] <= 1 and entry["error"] is None
    plain = kinemask(*line, "--server", address)
    assert plain.stdout.splitlines() == [f"{one['image']}: {one['caption']}" for one in found]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param(["--model", "nobody"], "blip-image-captioning-base", id="unknown model"),
        pytest.param(["--max-length", 1000], "expected at most", id="longer than the model can"),
        pytest.param(["--min-length", 50], "at most --max-length 40", id="least over most"),
        pytest.param(["--beams", 17], "than or equal to 16", id="too many beams"),
    ],
)
def test_what_cannot_be_done_as_asked_exits_2(
    address: str, tmp_path: Path, options: list[object], complaint: str
) -> None:
    (picture,) = pictures(tmp_path, 1)
    ran = kinemask("caption", picture, *options, "--server", address)
    assert ran.exit_code == 2
    assert complaint in ran.stderr


def test_file_that_is_no_picture_is_told(address: str, tmp_path: Path) -> None:
    path = tmp_path / "no.jpg"
    path.write_text("no picture")
    ran = kinemask("caption", path, "--server", address)
    assert ran.exit_code == 1
    assert str(path) in ran.stderr


def test_without_weights_the_command_that_fetches_them_is_named(
    bare_address: str, tmp_path: Path
) -> None:
    (picture,) = pictures(tmp_path, 1)
    ran = kinemask("caption", picture, "--server", bare_address)
    assert ran.exit_code == 1
    assert "kinemask models pull blip-image-captioning-base" in ran.stderr


def test_track_describes_every_nth_frame_of_the_range(
    clip: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    line = ["track", clip, "--box", f"{box_option(2)}@2", "-o", out, "--caption-every", 4]
    ran = kinemask(*line, "--start", 2, "--server", address, "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert [one["frame"] for one in told["captions"]] == [2, 6, 10]
    assert all(isinstance(one["caption"], str) for one in told["captions"])
    assert told["frames"] == FRAMES - 2 and out.is_file()
    shown = kinemask(*line, "--start", 2, "--server", address, "--overwrite")
    assert shown.exit_code == 0, shown.stderr
    assert "Caption" in shown.stdout


def test_track_holds_few_frames_for_a_slow_captioner(
    clip: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track_captions, "_UNDER_WAY", 1)
    line = ["track", clip, "--box", box_option(), "-o", tmp_path / "out.mp4"]
    ran = kinemask(*line, "--caption-every", 1, "--server", address, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert [one["frame"] for one in json.loads(ran.stdout)["captions"]] == [*range(FRAMES)]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        pytest.param("auto", "kinemask models pull blip-image-captioning-base", id="auto"),
        pytest.param("florence-2-base", "kinemask models pull florence-2-base", id="by name"),
        pytest.param("nobody", "no such model", id="unknown"),
    ],
)
def test_track_says_before_it_begins_that_nothing_can_describe(
    clip: Path, bare_address: str, tmp_path: Path, model: str, complaint: str
) -> None:
    out = tmp_path / "out.mp4"
    line = ["track", clip, "--box", box_option(), "-o", out, "--caption-every", 4]
    ran = kinemask(*line, "--model-captioner", model, "--server", bare_address)
    assert ran.exit_code == 1
    assert complaint in ran.stderr
    assert not out.exists()
