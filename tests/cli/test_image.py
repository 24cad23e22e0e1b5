"""`kinemask image` and `client.analyze` over real services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import kinemask as sdk
import numpy as np
import pytest
from kinemask import images
from kinemask.analysis import AnalyzeOptions, StoredPicture
from kinemask.cli.up import Stack

from tests.cli.track_kit import box_option, clip_frame, kinemask, square_at, truth

LACKS_WEIGHTS = "kinemask models pull blip-image-captioning-base"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    empty = {"KINEMASK_DATA_DIR": str(tmp_path_factory.mktemp("empty"))}
    services = ["detector", "segmenter", "captioner", "gateway"]
    with Stack(services, environment=empty, grace_s=2) as stack:
        yield stack.gateway_address


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NASA's public-domain portrait of Eileen Collins, from scikit-image's wheel."""
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("portrait") / "astronaut.jpg"
    path.write_bytes(images.encode_jpeg(np.asarray(data.astronaut(), np.uint8)))
    return path


@pytest.fixture
def square(tmp_path: Path) -> Path:
    path = tmp_path / "square.png"
    path.write_bytes(images.encode_png(clip_frame(0)))
    return path


def test_a_face_is_found_masked_drawn_and_told(
    portrait: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "seen.jpg"
    line = ["image", portrait, "--text", "face", "--object", "face", "-o", out]
    ran = kinemask(*line, "--server", address, "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["width"], told["height"], told["errors"]) == (512, 512, {})
    assert {one["part"] for one in told["found"]} == {"instances", "object"}
    x_min, y_min, x_max, y_max = told["found"][0]["box_xyxy"]
    assert x_min < 225 < x_max and y_min < 115 < y_max  # the nose
    assert told["found"][0]["area_px"] > 1000
    drawn, plain = images.decode(out.read_bytes()), images.decode(portrait.read_bytes())
    assert np.abs(drawn[100:130, 210:240].astype(int) - plain[100:130, 210:240]).mean() > 5
    shown = kinemask("image", portrait, "--text", "face", "--boxes-only", "--server", address)
    assert "detect" in shown.stdout and "face" in shown.stdout


def test_part_that_fails_is_told_and_the_others_answered(portrait: Path, address: str) -> None:
    line = ["image", portrait, "--text", "face", "--boxes-only", "--caption", "--faces"]
    ran = kinemask(*line, "--server", address, "--json")
    assert ran.exit_code == 1
    assert LACKS_WEIGHTS in ran.stderr
    told = json.loads(ran.stdout)
    assert set(told["errors"]) == {"caption", "faces"}
    assert [one["label"] for one in told["found"]][:1] == ["face"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param(["--faces"], "a picture or --video", id="no picture"),
        pytest.param(["PICTURE"], "what is to be found out?", id="no part"),
        pytest.param(["PICTURE", "--video", "v", "--faces"], "not both", id="both"),
        pytest.param(["PICTURE", "--frame", "3", "--faces"], "--video beside", id="frame of what"),
        pytest.param(["PICTURE", "--faces", "-o", "x.png"], "ends in .jpg", id="no JPEG"),
    ],
)
def test_what_cannot_be_done_as_asked_exits_2(
    square: Path, line: list[str], complaint: str
) -> None:
    given = [str(square) if part == "PICTURE" else part for part in line]
    ran = kinemask("image", *given, "--server", "127.0.0.1:1")
    assert ran.exit_code == 2
    assert complaint in ran.stderr


def test_prompts_are_answered_in_their_order(address: str) -> None:
    shown = sdk.Prompt(box=tuple(map(float, square_at(0))), label="square")  # type: ignore[arg-type]  # four numbers
    corner = sdk.Prompt(box=(0.0, 0.0, 12.0, 12.0), label="corner", object_id=7)
    with sdk.Client(address) as client:
        found = client.analyze(clip_frame(0), AnalyzeOptions(prompts=[shown, corner]))
    assert found.prompted is not None and not found.errors
    assert [(one.label, one.object_id) for one in found.prompted] == [("square", 1), ("corner", 7)]
    mask = found.prompted[0].mask
    assert mask is not None
    inside = truth(0)
    assert (mask & inside).sum() / (mask | inside).sum() > 0.9, box_option()
    assert found.services["segmenter"].engine == "flow"
    assert (found.detections, found.caption, found.object, found.frame_index) == (None,) * 4


def test_analysis_for_asyncio(portrait: Path, address: str) -> None:
    async def asked() -> None:
        async with sdk.AsyncClient(address) as client:
            options = AnalyzeOptions(
                detect=sdk.DetectStage(["face"]), annotate=True, effects=["blur"]
            )
            found = await client.analyze(portrait, options)
            assert found.detections is not None and found.detections[0].label == "face"
            assert images.decode(found.annotated).shape == (512, 512, 3)
            with pytest.raises(sdk.InvalidArgumentError, match="expected one of detect"):
                await client.analyze(portrait, AnalyzeOptions())

    asyncio.run(asked())


def test_stored_picture_is_named_in_one_way() -> None:
    with pytest.raises(ValueError, match="found several"):
        StoredPicture("v", index=3, seed=4)
