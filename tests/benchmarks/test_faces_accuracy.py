"""The face benchmark's command line on a few real pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.faces_accuracy import main

JOHNS = Path("../shared/data/faces/johns")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Two people, three pictures each."""
    if not JOHNS.is_dir():
        pytest.skip(f"measurement data is not there: {JOHNS}")
    for person in sorted(path for path in JOHNS.iterdir() if path.is_dir())[:2]:
        (tmp_path / person.name).mkdir()
        for picture in sorted(person.glob("*.jpg"))[:3]:
            shutil.copy(picture, tmp_path / person.name)
    return tmp_path


def dlib_row(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    row: dict[str, float] = json.loads(capsys.readouterr().out)["engines"]["dlib"]
    return row


def test_people_are_told_apart(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(few), "--enrol", "2"]) == 0
    row = dlib_row(capsys)
    assert (row["top1"], row["tar_at_far0"], row["eer"]) == (1.0, 1.0, 0.0)
    assert (row["people"], row["images"], row["pairs"], row["splits"]) == (2, 6, 15, 3)


def test_pairs_are_scored_and_a_picture_without_a_face_is_nobody(
    few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(few / "wall.png"), np.full((80, 80, 3), 90, np.uint8))
    one, other = (sorted(path.rglob("*.jpg")) for path in sorted(few.iterdir()) if path.is_dir())
    rows = [(one[0], one[1], 1), (one[0], other[0], 0), (one[2], few / "wall.png", 0)]
    lines = [f"{a.relative_to(few)},{b.relative_to(few)},{same}" for a, b, same in rows]
    (few / "pairs.csv").write_text("\n".join(lines))
    assert main(["--pairs", str(few / "pairs.csv")]) == 0
    row = dlib_row(capsys)
    assert (row["accuracy"], row["eer"], row["images_without_face"]) == (1.0, 0.0, 1)


def test_what_cannot_be_scored_is_said(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(few), "--enrol", "3"]) == 2
    assert "expected more than 3 pictures" in capsys.readouterr().err
