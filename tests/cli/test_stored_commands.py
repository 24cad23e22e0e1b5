"""`kinemask videos` and `kinemask jobs` against a real gateway with a library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from kinemask.cli.app import app
from kinemask.images import decode
from kinemask.v1 import jobs_pb2_grpc
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.gateway.jobs_kit import counting, jobs_gateway, worker
from tests.gateway.library_kit import LibraryCalls, clip, library_gateway
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread

__all__ = ["postgres"]

Run = Callable[..., Result]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def library(url: str, tmp_path: Path) -> Iterator[LibraryCalls]:
    # The services log to standard output, which is the command's here.
    with capture_logs(), InThread(jobs_gateway(url, tmp_path / "data")) as calls:
        yield calls


@pytest.fixture
def run(library: LibraryCalls, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("KINEMASK_SERVER", library.address)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def video_path(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(tmp_path))
    return path


def ids(result: Result) -> list[str]:
    return [video["video_id"] for video in json.loads(result.stdout)["videos"]]


def test_a_video_through_every_command(run: Run, video_path: Path, tmp_path: Path) -> None:
    uploaded = run("videos", "upload", video_path, "--name", "Door", "--progress")
    assert uploaded.exit_code == 0, uploaded.stderr
    assert "bytes" in uploaded.stderr
    (video_id,) = ids(run("videos", "list", "--json"))
    assert uploaded.stdout.split() == [video_id, "Door"]
    assert "96x64" in run("videos", "list").stdout
    assert "yuv420p" in run("videos", "show", video_id, "--probe").stdout
    target = tmp_path / "down.mp4"
    assert run("videos", "download", video_id, "-o", target).exit_code == 0
    assert target.read_bytes() == video_path.read_bytes()
    assert run("videos", "download", video_id, "-o", target).exit_code == 2  # it exists
    picture = tmp_path / "frame.png"
    shown = run("videos", "frame", video_id, "--index", 5, "-o", picture)
    assert "frame 5, shown at 0.200 s" in shown.stderr
    assert decode(picture.read_bytes()).shape == (64, 96, 3)
    beyond = run("videos", "frame", video_id, "--index", 30, "-o", picture, "-y")
    assert (beyond.exit_code, "from 0 to 29" in beyond.stderr) == (2, True)
    assert run("videos", "delete", video_id).exit_code == 0
    assert ids(run("videos", "list", "--json")) == []
    gone = run("videos", "show", video_id)
    assert (gone.exit_code, "there is no video" in gone.stderr) == (2, True)


def test_jobs_are_listed_watched_stopped_and_read(
    run: Run, library: LibraryCalls, url: str, video_path: Path, tmp_path: Path
) -> None:
    run("videos", "upload", video_path)
    (video_id,) = ids(run("videos", "list", "--json"))
    with grpc.insecure_channel(library.address) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        answers = [stub.CreateTrackJob(counting(video_id, **told)) for told in _THREE]
    first, failing, waiting = (answer.job.job_id for answer in answers)
    assert run("jobs", "cancel", waiting).stderr.strip().endswith("is cancelled")
    with InThread(worker(url, tmp_path / "data")):
        watched = run("jobs", "watch", first, "--json")
        failed = run("jobs", "watch", failing)
    assert json.loads(watched.stdout)["state"] == "succeeded"
    assert "100%, succeeded" in watched.stderr
    assert (failed.exit_code, "no such thing" in failed.stderr) == (1, True)
    assert "numbers.txt" in run("jobs", "show", first).stdout
    assert run("jobs", "download", first, "-o", tmp_path / "n.txt").exit_code == 0
    assert (tmp_path / "n.txt").read_text().split() == [str(n) for n in range(10)]
    states = [job["state"] for job in json.loads(run("jobs", "list", "--json").stdout)["jobs"]]
    assert states == ["cancelled", "failed", "succeeded"]
    assert "succeeded" in run("jobs", "list", "--video", video_id).stdout
    assert run("jobs", "delete", first, waiting).exit_code == 0


_THREE: tuple[dict[str, object], ...] = (
    {"frames": 10, "pause_ms": 20},
    {"fail": "no such thing"},
    {"frames": 10},
)


def test_a_gateway_without_a_library_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with InThread(library_gateway("", tmp_path / "data")) as bare:
        monkeypatch.setenv("KINEMASK_SERVER", bare.address)
        result = CliRunner().invoke(app, ["videos", "list"])
    assert result.exit_code == 1
    assert "KINEMASK_LIBRARY=on" in result.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        pytest.param(["videos", "upload", "nowhere.mp4"], "no such file", id="no file"),
        pytest.param(
            ["videos", "frame", "x", "-o", "a.png", "--index", "1", "--seed", "2"],
            "expected one of --index, --time and --seed",
            id="two ways to name a frame",
        ),
        pytest.param(["videos", "frame", "x", "-o", "a.gif"], "ends in", id="no such picture"),
    ],
)
def test_what_cannot_be_asked_for(words: list[str], what: str) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, what in result.stderr) == (2, True), result.stderr
