"""`kinemask faces`, and --except and --only of `kinemask track`, over real services."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemask import images
from kinemask.cli.up import Stack
from kinemask.images import Image
from kinemask.video import VideoReader, VideoWriter

from tests.cli.track_kit import kinemask

README = Path(__file__).resolve().parents[2] / "README.md"
SERVICES = ["detector", "tracker", "segmenter", "faces", "gateway"]
FRAMES = 8
FACE = np.s_[30:95, 85:140]
"""In the photograph at half its size."""


def photograph() -> Image:
    """A person's portrait in the public domain, `(256, 256, 3)`."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[::2, ::2])  # type: ignore[no-untyped-call]  # it types little


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    told = {"KINEMASK_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    with Stack(SERVICES, environment=told, grace_s=2) as stack:
        yield stack.gateway_address


@pytest.fixture
def folder(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures and a clip of one person, and a picture of nobody."""
    plain = photograph()
    pictures = {
        "alice-1": plain,
        "alice-2": cv2.flip(plain, 1),
        "party": cv2.convertScaleAbs(plain, alpha=0.8, beta=10),
        "one": plain,
        "two": cv2.GaussianBlur(plain, (3, 3), 0),
        "nobody": np.full((200, 200, 3), 90, np.uint8),
    }
    for name, picture in pictures.items():
        jpeg = images.encode_jpeg(np.asarray(picture, np.uint8), 95)
        (tmp_path / f"{name}.jpg").write_bytes(jpeg)
    with VideoWriter(tmp_path / "talk.mp4", width=256, height=256, fps=25, crf=8) as writer:
        for shift in range(FRAMES):
            writer.write(np.ascontiguousarray(np.roll(plain, shift, axis=1)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KINEMASK_SERVER", address)
    return tmp_path


def changed(folder: Path, output: str) -> list[float]:
    """The share of the face's pixels that clearly changed, frame by frame."""
    pairs = zip(VideoReader(folder / "talk.mp4"), VideoReader(folder / output), strict=True)
    shares = []
    for before, after in pairs:
        part = (FACE[0], slice(FACE[1].start + before.index, FACE[1].stop + before.index))
        apart = np.abs(before.image[part].astype(int) - after.image[part]).max(axis=2)
        shares.append(float((apart > 40).mean()))
    return shares


def test_the_readme_s_lines_run(folder: Path) -> None:
    section = README.read_text().split("## Faces with names")[1]
    block = re.findall(r"```bash\n(.*?)```", section, re.S)[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]
    assert len(lines) == 6
    for program, *arguments in lines:
        done = kinemask(*arguments)
        assert program == "kinemask" and done.exit_code == 0, (arguments, done.stderr)
    assert (folder / "named.jpg").is_file() and (folder / "talk-blur.mp4").is_file()
    assert max(changed(folder, "talk-blur.mp4")) < 0.05
    listed = kinemask("faces", "list", "--json")
    assert json.loads(listed.stdout)["people"] == []


def test_whoever_is_not_excepted_is_covered(folder: Path) -> None:
    enrolled = kinemask("faces", "enrol", "Eileen", "alice-1.jpg", "--gallery", "crew")
    assert enrolled.exit_code == 0, enrolled.stderr
    base = ["track", "talk.mp4", "--text", "face", "--effect", "solid", "--color", "00ff00"]
    for option, covered in (("--except", False), ("--only", True)):
        out = f"out{option}.mp4"
        done = kinemask(*base, option, "eileen", "--gallery", "crew", "-o", out, "--json")
        assert done.exit_code == 0, done.stderr
        shares = changed(folder, out)
        assert (min(shares) > 0.7) if covered else (max(shares) < 0.05)
        assert json.loads(done.stdout)["objects"][0]["name"] == "Eileen"


def test_a_name_that_nobody_has_is_told_at_once(folder: Path) -> None:
    base = ["track", "talk.mp4", "--text", "face", "--effect", "blur", "-o", "out.mp4"]
    done = kinemask(*base, "--except", "Nobody at all")
    assert done.exit_code == 2 and "nobody in gallery people" in done.stderr
    assert not (folder / "out.mp4").exists()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(["--except", "A", "--only", "B", "--text", "face"], "one of them", id="both"),
        pytest.param(["--except", "A", "--box", "1,1,9,9"], "--text face", id="without words"),
        pytest.param(["--except", " ", "--text", "face"], "found none", id="a blank name"),
    ],
)
def test_names_that_make_no_sense(folder: Path, line: list[str], word: str) -> None:
    done = kinemask("track", "talk.mp4", *line)
    assert done.exit_code == 2 and word in done.stderr


def test_a_picture_without_a_face_leaves_nobody_behind(folder: Path) -> None:
    done = kinemask("faces", "enrol", "Ghost", "nobody.jpg", "--json")
    assert done.exit_code == 3
    [entry] = json.loads(done.stdout)["images"]
    assert entry["outcome"] == "refused" and entry["problem"] == "no face"
    listed = kinemask("faces", "list", "--name", "Ghost", "--json")
    assert json.loads(listed.stdout)["people"] == []


def test_a_folder_stands_for_its_pictures(folder: Path) -> None:
    inside = folder / "of-alice"
    inside.mkdir()
    for name in ("alice-1.jpg", "alice-2.jpg", "nobody.jpg"):
        (inside / name).write_bytes((folder / name).read_bytes())
    (inside / "broken.jpg").write_bytes(b"no picture")
    (inside / "notes.txt").write_text("not sent")
    done = kinemask("faces", "enrol", "Folded", "of-alice", "-g", "folders", "--json")
    assert done.exit_code == 0, done.stderr
    told = [(Path(one["image"]).name, one["outcome"]) for one in json.loads(done.stdout)["images"]]
    assert told == [
        ("alice-1.jpg", "enrolled"),
        ("alice-2.jpg", "enrolled"),
        ("broken.jpg", "failed"),
        ("nobody.jpg", "refused"),
    ]


def test_a_folder_without_pictures_is_said(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = kinemask("faces", "enrol", "Folded", "empty")
    assert done.exit_code == 2
    assert "expected a folder with pictures" in done.stderr


def test_enrolled_twice_is_one_person_and_a_duplicate(folder: Path) -> None:
    for outcome in ("enrolled", "refused"):
        line = ["faces", "enrol", "Twice", "alice-1.jpg", "-g", "twice", "--json"]
        done = kinemask(*line)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["images"][0]["outcome"] == outcome
    told = json.loads(kinemask("faces", "list", "-g", "twice", "--json").stdout)["people"]
    assert [(one["name"], one["samples"]) for one in told] == [("Twice", 1)]
    listed = json.loads(kinemask("faces", "list", "--galleries", "--json").stdout)
    assert "twice" in {one["gallery_id"] for one in listed["galleries"]}
    assert kinemask("faces", "forget", "-g", "twice", "--everybody").exit_code == 0
    assert kinemask("faces", "list", "-g", "twice").exit_code == 2


def test_an_unknown_face_is_told_and_exits_with_three(folder: Path) -> None:
    kinemask("faces", "enrol", "Somebody", "alice-1.jpg", "-g", "strict")
    done = kinemask(
        *["faces", "recognise", "party.jpg", "-g", "strict", "--threshold", 1, "--json"]
    )
    assert done.exit_code == 3
    [face] = json.loads(done.stdout)["images"][0]["faces"]
    assert face["decision"] == "unknown" and face["name"] == "Somebody"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(["enrol", "A", "missing.jpg"], "no such file", id="no picture"),
        pytest.param(["enrol", " ", "one.jpg"], "a name", id="no name"),
        pytest.param(["forget"], "one of NAME", id="forget nobody"),
        pytest.param(["forget", "Nobody at all"], "nobody in gallery", id="forget a stranger"),
        pytest.param(["verify", "one.jpg", "nobody.jpg"], "found none", id="verify nobody"),
        pytest.param(["recognise", "one.jpg", "-g", "nowhere"], "nowhere", id="no such gallery"),
    ],
)
def test_what_cannot_be_done_exits_with_two(folder: Path, line: list[str], word: str) -> None:
    done = kinemask("faces", *line)
    assert done.exit_code == 2 and word in done.stderr, done.stderr
