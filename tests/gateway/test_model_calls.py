"""A track job asks the models; what is drawn or written of it afterwards asks none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis.server import RunningServer

from tests.gateway.following_kit import COLORS, Studio, Thing, made, moving, studio
from tests.gateway.jobs_kit import watched
from tests.gateway.render_kit import finished, output, render_request, rule
from tests.postgres_kit import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


def calls_of(server: RunningServer) -> float:
    """Rpcs of the service itself that were begun, as its metrics count them."""
    return sum(
        sample.value
        for metric in server.service.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "kinemask_rpc_started_total"
        and sample.labels["method"].startswith("/kinemask.v1.")
    )


async def exported(it: Studio, track_id: str) -> pb.Job:
    spec = pb.ExportJobSpec(
        source=pb.TrackSource(track_job_id=track_id), format=pb.EXPORT_FORMAT_COCO_VIDEO
    )
    answer = await it.library.jobs.CreateExportJob(pb.CreateExportJobRequest(spec=spec))
    return (await watched(it.library, answer.job.job_id))[-1]


async def test_renders_and_exports_call_no_model(url: str, tmp_path: Path) -> None:
    things = [Thing(moving(4, 10, 1.0)), Thing(moving(60, 40, -0.5), color=COLORS[1])]
    content = made(tmp_path, 40, things)
    async with studio(url, tmp_path / "data", things) as it:
        video = await it.library.add(content, "made.mkv")
        job = await it.track(video.video_id)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        asked = [calls_of(server) for server in it.models]
        assert min(asked) >= 1
        seen = len(it.detector.seen)
        videos = []
        for effect in ("blur", "solid", "overlay"):
            done = await finished(it.library, render_request(job.job_id, rule(effect)))
            assert done.state == pb.JOB_STATE_SUCCEEDED, done.error
            videos.append(await output(it.library, done))
        export = await exported(it, job.job_id)
        assert export.state == pb.JOB_STATE_SUCCEEDED, export.error
        told = json.loads(await output(it.library, export))
        assert [calls_of(server) for server in it.models] == asked
        assert len(it.detector.seen) == seen
    assert len(set(videos)) == 3
    assert {entry["track_id"] for entry in told["annotations"]} == {1, 2}
