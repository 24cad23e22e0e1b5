"""`kinemask detect`, `segment`, `engines` and `version` over real services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kinemask import images, masks
from kinemask.cli.up import Stack

from tests.cli.track_kit import HEIGHT, WIDTH, box_option, clip_frame, kinemask, truth


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Stack(["detector", "segmenter", "gateway"], grace_s=2) as stack:
        yield stack.gateway_address


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(images.encode_png(clip_frame(0)))
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NASA's public-domain portrait of Eileen Collins, from scikit-image's wheel."""
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("portrait") / "astronaut.jpg"
    path.write_bytes(images.encode_jpeg(np.asarray(data.astronaut(), np.uint8)))
    return path


def test_a_face_is_found_drawn_and_told(portrait: Path, address: str, tmp_path: Path) -> None:
    out = tmp_path / "found.jpg"
    ran = kinemask("detect", portrait, "--text", "face", "-o", out, "--server", address, "--json")
    assert ran.exit_code == 0, ran.stderr
    [told] = json.loads(ran.stdout)["images"]
    assert (told["width"], told["height"], told["engine"]) == (512, 512, "classic")
    x_min, y_min, x_max, y_max = told["detections"][0]["box_xyxy"]
    assert x_min < 225 < x_max and y_min < 115 < y_max  # the nose
    drawn, plain = images.decode(out.read_bytes()), images.decode(portrait.read_bytes())
    assert np.abs(drawn[100:130, 210:240].astype(int) - plain[100:130, 210:240]).mean() > 5


def test_several_pictures_go_to_a_folder_and_an_empty_one_is_said(
    portrait: Path, picture: Path, address: str, tmp_path: Path
) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    line = ["detect", portrait, picture, "-t", "face", "-o", folder, "--server", address]
    ran = kinemask(*line)
    assert ran.exit_code == 0, ran.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["astronaut.jpg", "picture.jpg"]
    assert "picture.png: nothing found" in ran.stderr
    assert "astronaut.jpg" in ran.stdout and "picture.png" not in ran.stdout


def test_nothing_found_in_any_picture_exits_3(picture: Path, address: str) -> None:
    ran = kinemask("detect", picture, "--text", "face", "--server", address)
    assert ran.exit_code == 3, ran.stderr
    assert "nothing found" in ran.stderr
    allowed = kinemask("detect", picture, "-t", "face", "--allow-empty", "--server", address)
    assert allowed.exit_code == 0


def test_a_boxed_thing_is_cut_out(picture: Path, address: str, tmp_path: Path) -> None:
    out = tmp_path / "mask.png"
    line = ["segment", picture, "--box", box_option(), "-o", out, "--server", address, "--json"]
    ran = kinemask(*line)
    assert ran.exit_code == 0, ran.stderr
    [told] = json.loads(ran.stdout)["objects"]
    mask = masks.decode_rle(told["segmentation"]["counts"].encode(), HEIGHT, WIDTH)
    assert masks.mask_iou(mask, truth(0)) > 0.8
    assert np.array_equal(images.decode(out.read_bytes())[..., 0] == 255, mask)


def test_words_are_found_and_then_cut_out(portrait: Path, address: str, tmp_path: Path) -> None:
    out = tmp_path / "face.jpg"
    ran = kinemask("segment", portrait, "-t", "face", "-o", out, "--server", address)
    assert ran.exit_code == 0, ran.stderr
    assert "face" in ran.stdout
    assert images.decode(out.read_bytes()).shape == (512, 512, 3)


def test_words_that_find_nothing_cut_nothing_out(
    picture: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "mask.png"
    ran = kinemask("segment", picture, "-t", "face", "-o", out, "--server", address)
    assert ran.exit_code == 3, ran.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param(["detect", "{picture}"], "what is to be found?", id="no words"),
        pytest.param(["detect", "none.jpg", "-t", "face"], "none.jpg: no such file", id="missing"),
        pytest.param(
            ["detect", "{picture}", "{picture}", "-t", "face", "-o", "x.jpg"],
            "expected a folder, for 2 pictures",
            id="one name for two",
        ),
        pytest.param(["segment", "{picture}"], "what is to be cut out?", id="nothing to cut"),
        pytest.param(["segment", "{picture}", "--box", "1,2,9,9@3"], "no frames", id="a frame"),
        pytest.param(["segment", "{picture}", "--point", "160,1"], "160x120", id="outside"),
        pytest.param(
            ["segment", "{picture}", "--point", "1,1", "-o", "{picture}"], "is the input", id="same"
        ),
    ],
)
def test_lines_that_cannot_be(picture: Path, address: str, line: list[str], complaint: str) -> None:
    ran = kinemask(*(part.format(picture=picture) for part in line), "--server", address)
    assert ran.exit_code == 2, ran.stderr
    assert complaint in ran.stderr


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    ran = kinemask("detect", path, "--text", "face")
    assert ran.exit_code == 1
    assert "text.jpg: expected an image" in ran.stderr


def test_engines_are_listed_with_those_that_are_missing(address: str) -> None:
    ran = kinemask("engines", "--server", address)
    assert ran.exit_code == 0, ran.stderr
    rows = {tuple(line.split()[:3]) for line in ran.stdout.splitlines()}
    assert {("segmenter", "flow", "yes"), ("detector", "classic", "yes")} <= rows
    assert ("tracker", "-", "no") in rows
    told = json.loads(kinemask("engines", "--server", address, "--json").stdout)
    assert {s["service"]: s["serving"] for s in told["services"]}["segmenter"] is True


def test_what_answers_but_is_no_gateway_is_told_apart() -> None:
    with Stack(["segmenter"], grace_s=2) as stack:
        [inner] = stack.addresses("segmenter")
        ran = kinemask("engines", "--server", inner)
    assert ran.exit_code == 1
    assert f"what answers at {inner} is not a Kinemask gateway" in ran.stderr


def test_version() -> None:
    ran = kinemask("version")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("kinemask 0.1.0 (Python 3.")
