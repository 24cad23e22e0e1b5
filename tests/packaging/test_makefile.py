"""The targets that README and continuous integration name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import PROJECTS, ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def test_make_alone_shows_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE)
    shown = _make().stdout
    assert {"install", "test", "lint", "demo", "protos", "constraints", "clean"} <= set(targets)
    assert all(f"make {target} " in shown for target in targets)


def test_install_takes_every_project_in_and_only_wheels() -> None:
    said = _make("--dry-run", "--always-make", "install").stdout
    for path in PROJECTS:
        assert f"--editable ./{path.parent.relative_to(ROOT)}" in said
    assert "--only-binary :all:" in said and "--constraint constraints.txt" in said


def test_test_runs_the_checks_before_the_tests() -> None:
    said = _make("--dry-run", "test").stdout
    places = [said.index(word) for word in ("ruff check", "ruff format --check", "mypy", "pytest")]
    assert places == sorted(places)


def test_a_video_may_have_spaces_in_its_name() -> None:
    assert '-m demo "my video.mp4"' in _make("--dry-run", "demo", "VIDEO=my video.mp4").stdout


def test_too_old_a_python_is_said_in_words(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements-dev.txt", "constraints.txt"):
        (tmp_path / name).touch()
    done = _make("install", "PYTHON=", folder=tmp_path)
    assert done.returncode != 0
    assert "Kinemask needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_continuous_integration_runs_the_test_target() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines and lines[-1] == "make test"
