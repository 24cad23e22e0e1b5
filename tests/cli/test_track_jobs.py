"""`kinemask jobs track` on a file, then `render` and `export`: one command each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kinemask.cli.app import app
from kinemask.video import probe_video
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.gateway.following_kit import Studio, Thing, made, moving, studio
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread

__all__ = ["postgres"]

Run = Callable[..., Result]
FRAMES = 20
THINGS = [Thing(moving(4, 10, 1.0))]


@pytest.fixture
def running(postgres: Postgres, tmp_path: Path) -> Iterator[Studio]:
    # The services log to standard output, which is the command's here.
    with capture_logs(), InThread(studio(postgres.new_database(), tmp_path / "data", THINGS)) as it:
        yield it


@pytest.fixture
def run(running: Studio, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("KINEMASK_SERVER", running.library.address)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_file_is_stored_once_followed_rendered_and_exported(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(made(tmp_path, FRAMES, THINGS))
    tracked = run("jobs", "track", path, "--text", "thing", "--wait")
    assert tracked.exit_code == 0, tracked.stderr
    first, found = tracked.stdout.splitlines()
    job_id = first.split()[0]
    assert found.split() == ["1", "thing", *f"{FRAMES} frames from 0 to {FRAMES - 1}".split()]
    assert f"kinemask render {job_id}" in tracked.stderr
    again = run("jobs", "track", path, "--text", "thing", "--wait", "--json")
    assert "is in the library" in again.stderr
    told = json.loads(again.stdout)
    assert (told["job_id"], told["objects"][0]["frame_count"]) == (job_id, FRAMES)
    target = tmp_path / "safe.mp4"
    assert run("render", job_id, "--effect", "solid", "-o", target).exit_code == 0
    assert (probe_video(target).width, probe_video(target).height) == (96, 64)
    table = tmp_path / "tracks.csv"
    assert run("export", job_id, "--format", "csv", "-o", table).exit_code == 0
    assert len(table.read_text().splitlines()) == 1 + FRAMES


def test_a_job_that_finds_nothing_is_no_success(run: Run, running: Studio, tmp_path: Path) -> None:
    path = tmp_path / "empty.mkv"
    path.write_bytes(made(tmp_path, 5, []))
    running.detector.script = lambda frame: []
    result = run("jobs", "track", path, "--text", "thing", "--wait")
    assert (result.exit_code, "nothing answers" in result.stderr) == (3, True), result.stderr


@pytest.mark.parametrize(
    ("given", "what"),
    [
        pytest.param("nowhere.mp4", "no such file", id="a file that is not there"),
        pytest.param("some/where", "no such file", id="a path that leads nowhere"),
        pytest.param(".", "expected a file", id="a folder"),
    ],
)
def test_what_can_only_be_a_path_is_looked_for_at_once(given: str, what: str) -> None:
    result = CliRunner().invoke(app, ["jobs", "track", given, "--text", "thing"])
    assert (result.exit_code, what in result.stderr) == (2, True), result.stderr
