"""`kinemask render` and `kinemask export` against a real gateway and worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from kinemask import Client
from kinemask.cli.app import app
from kinemask.cli.stored.render import RenderEffect
from kinemask.effects import PLANAR_EFFECT_NAMES
from kinemask.errors import InvalidArgumentError
from kinemask.stored import ExportOptions, RenderOptions, RenderRule
from kinemask.v1 import jobs_pb2_grpc
from kinemask.video import probe_video
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.gateway.jobs_kit import counting, jobs_gateway
from tests.gateway.library_kit import LibraryCalls, clip
from tests.gateway.render_kit import render_worker
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread

__all__ = ["postgres"]

Run = Callable[..., Result]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def library(url: str, tmp_path: Path) -> Iterator[LibraryCalls]:
    data = tmp_path / "data"
    # The services log to standard output, which is the command's here.
    with (
        capture_logs(),
        InThread(jobs_gateway(url, data)) as calls,
        InThread(render_worker(url, data)),
    ):
        yield calls


@pytest.fixture
def client(library: LibraryCalls) -> Iterator[Client]:
    with Client(library.address) as client:
        yield client


@pytest.fixture
def track_id(client: Client, library: LibraryCalls, tmp_path: Path) -> str:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(tmp_path))
    video_id = client.videos.upload(path).video_id
    with grpc.insecure_channel(library.address) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        job_id = str(stub.CreateTrackJob(counting(video_id, words=1)).job.job_id)
    assert client.jobs.wait(job_id).state == "succeeded"
    return job_id


@pytest.fixture
def run(library: LibraryCalls, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("KINEMASK_SERVER", library.address)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_render_with_its_record(run: Run, track_id: str, client: Client, tmp_path: Path) -> None:
    target, audit = tmp_path / "out.mp4", tmp_path / "audit.json"
    words = ("render", track_id, "--effect", "blur", "-e", "desaturate", "--text", "face")
    limits = ("--except", "Ada", "--feather", 4, "--start", 5, "--end", 15, "--max-side", 48)
    result = run(*words, *limits, "-o", target, "--audit", audit, "--progress", "--json")
    assert result.exit_code == 0, result.stderr
    assert probe_video(target).frame_count == 10
    assert probe_video(target).width == 48
    told = json.loads(audit.read_text())
    (rule,) = told["render"]["rules"]
    assert [effect["name"] for effect in rule["effects"]] == ["blur", "desaturate"]
    assert rule["effects"][0]["grow_fraction"] == pytest.approx(0.1)
    assert rule["effects"][1]["grow_fraction"] == 0
    assert (rule["prompts"], rule["except_names"]) == (["face"], ["Ada"])
    assert rule["feather_px"] == 4
    job_id = json.loads(result.stdout)["job_id"]
    again = run(*words, *limits, "-o", target, "--overwrite")
    assert f"render job {job_id}" in again.stderr  # the same job, not another
    client.jobs.delete(job_id)
    fresh = run(*words, *limits, "-o", target, "--overwrite")
    assert fresh.exit_code == 0
    assert job_id not in fresh.stderr


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("coco", "json"), ("youtube-vis", "json"), ("mot", "txt"), ("png", "zip"), ("csv", "csv")],
)
def test_exports(run: Run, track_id: str, tmp_path: Path, kind: str, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    result = run("export", track_id, "--format", kind, "-o", target, "--object", 1, "--end", 10)
    assert result.exit_code == 0, result.stderr
    assert target.stat().st_size > 100
    assert run("export", track_id, "--format", kind, "-o", target).exit_code == 2  # it is there


def test_from_python(client: Client, track_id: str, tmp_path: Path) -> None:
    rule = RenderRule(["outline"], object_ids=[2], show_labels=True)
    options = RenderOptions(audio=False, crf=30, add_to_library=True)
    job = client.jobs.render(track_id, [rule, "dim"], options, name="Two")
    done = client.jobs.wait(job.job_id)
    assert (done.state, done.kind, done.name) == ("succeeded", "render", "Two")
    assert [file.output_id for file in done.files] == ["video", "audit"]
    assert len(list(client.videos.list(include_renders=True))) == 2
    other = client.jobs.render(track_id, [rule, "dim"], options, name="Two")
    assert other.job_id != job.job_id
    export = client.jobs.export(track_id, "csv", ExportOptions(min_score=0.9))
    assert client.jobs.wait(export.job_id).state == "succeeded"
    with pytest.raises(InvalidArgumentError, match="unknown effect 'melt'"):
        client.jobs.render(track_id, ["melt"])
    with pytest.raises(ValueError, match="expected a format of coco"):
        client.jobs.export(track_id, "xml")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("words", "what"),
    [
        pytest.param(["render", "x", "-e", "blur", "-o", "a.avi"], "ends in", id="no such video"),
        pytest.param(
            ["render", "x", "-e", "blur", "-o", "a.mp4", "--start", "5", "--end", "5"],
            "expected a frame after",
            id="no frames",
        ),
        pytest.param(
            ["export", "x", "-f", "coco", "-o", "a.txt"], "ends in .json", id="another ending"
        ),
    ],
)
def test_what_cannot_be_asked_for(words: list[str], what: str) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, what in result.stderr) == (2, True), result.stderr


def test_the_line_knows_every_effect() -> None:
    assert tuple(RenderEffect) == PLANAR_EFFECT_NAMES
