"""Unusual and bad videos through the whole path: upload, track, render; others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import grpc
import pytest
from kinemask.v1 import detector_pb2, live_pb2, videos_pb2
from kinemask.v1 import jobs_pb2 as pb
from kinemask.video import index_video, probe_video

from tests.client.test_video import Source, make_video
from tests.gateway.following_kit import Studio, Thing, made, moving, studio
from tests.gateway.jobs_kit import watched
from tests.gateway.library_kit import sha256
from tests.gateway.render_kit import finished, output, render_request, rule
from tests.gateway.test_library_inspection import (
    damaged,
    empty,
    rubbish,
    sound,
    too_large,
    without_end,
)
from tests.gateway.test_library_uploads import refused
from tests.postgres_kit import Postgres

THINGS = [Thing(moving(4, 10, 1.0))]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@dataclass(frozen=True)
class Kind:
    """A video that is not as others are."""

    make: Callable[[Path], Path]
    frames: int
    salvage: bool = False
    damaged_frames: bool = False


def unusual(**source: object) -> Callable[[Path], Path]:
    return lambda folder: make_video(folder / "a.mp4", Source(**source))  # type: ignore[arg-type]  # rows name them


KINDS = [
    pytest.param(
        Kind(lambda folder: without_end(make_video(folder / "a.mp4", Source()), "mkv"), 0, True),
        id="truncated",
    ),
    pytest.param(
        Kind(
            lambda folder: damaged(make_video(folder / "a.mp4", Source(width=320, height=192)), 10),
            20,
            salvage=True,
            damaged_frames=True,
        ),
        id="a frame that cannot be decoded",
    ),
    pytest.param(Kind(unusual(pixel_format="yuv420p10le"), 20), id="10-bit"),
    pytest.param(Kind(unusual(rotation_ccw=90), 20), id="rotated"),
    pytest.param(
        Kind(unusual(pts=(0, 1, 5, 6, 20), time_base=Fraction(1, 25)), 5), id="variable frame rate"
    ),
    pytest.param(Kind(unusual(width=97, height=63, codec="mpeg4"), 20), id="odd size"),
    pytest.param(Kind(unusual(width=7680, height=4320, pts=(0, 1)), 2), id="8K"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_unusual_videos_are_tracked_and_rendered(
    url: str, tmp_path: Path, kind: Kind
) -> None:
    path = kind.make(tmp_path)
    policy = videos_pb2.DAMAGE_POLICY_SALVAGE if kind.salvage else 0
    async with studio(url, tmp_path / "data", []) as it:
        it.detector.script = lambda number: [(8.0, 8.0, 24.0, 24.0)]
        video = await stored(it, path, policy)
        job = await it.track(video.video_id)
        assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
        frames = await it.frames(job.job_id)
        render = await finished(it.library, render_request(job.job_id, rule("solid")))
        assert render.state == pb.JOB_STATE_SUCCEEDED, render.error
        content = await output(it.library, render)
    count = kind.frames or video.facts.frame_count
    assert [frame.frame_index for frame in frames] == list(range(count))
    masked = sum(any(entry.present for entry in frame.objects) for frame in frames)
    assert masked == count - kind.damaged_frames
    reasons = {risk.reason for risk in job.track_result.at_risk}
    assert (pb.RISK_REASON_DAMAGED_FRAME in reasons) == kind.damaged_frames
    target = tmp_path / "out.mp4"
    target.write_bytes(content)
    info = probe_video(target)
    even = (video.facts.width + video.facts.width % 2, video.facts.height + video.facts.height % 2)
    assert (info.width, info.height) == even
    assert shown_at(target) == shown_at(path)[:count]


def shown_at(path: Path) -> list[Fraction]:
    """When each frame is shown, by what the packets say: some cannot be decoded."""
    index = index_video(path).index
    return [int(pts) * index.time_base for pts in index.pts]


async def stored(it: Studio, path: Path, policy: int = 0) -> videos_pb2.Video:
    content = await asyncio.to_thread(path.read_bytes)
    upload_id = await it.library.start(content, path.name)
    await it.library.send(upload_id, content)
    finish = videos_pb2.FinishUploadRequest(upload_id=upload_id, damage_policy=policy)  # type: ignore[arg-type]  # an enum's number
    return (await it.library.videos.FinishUpload(finish)).video  # type: ignore[no-any-return]  # the stub has no types


async def test_bad_uploads_are_refused_and_disturb_nobody(url: str, tmp_path: Path) -> None:
    content = made(tmp_path, 60, THINGS)
    async with studio(url, tmp_path / "data", THINGS) as it:
        video = await it.library.add(content, "made.mkv")
        alone = await it.checksum((await it.track(video.video_id)).job_id)
        job_id = await it.queued(video.video_id)
        answers = []
        for make in (rubbish, sound, too_large, empty):
            folder = tmp_path / make.__name__
            folder.mkdir()
            answers.append(await refused(stored(it, make(folder))))
        cut = await it.library.start(content, "cut.mkv")
        await it.library.send(cut, content[: len(content) // 2])
        finish = videos_pb2.FinishUploadRequest(upload_id=cut)
        answers.append(await refused(it.library.videos.FinishUpload(finish)))
        wrong = await it.library.start(content, "wrong.mkv", sha256=sha256(b"another file"))
        await it.library.send(wrong, content)
        finish.upload_id = wrong
        answers.append(await refused(it.library.videos.FinishUpload(finish)))
        done = (await watched(it.library, job_id))[-1]
        assert done.state == pb.JOB_STATE_SUCCEEDED, done.error
        assert await it.checksum(job_id) == alone
        listed = await it.library.videos.ListVideos(videos_pb2.ListVideosRequest())
    reasons = [reason for _, reason in answers]
    assert reasons[:4] == ["NOT_A_VIDEO", "NO_VIDEO_TRACK", "TOO_MANY_PIXELS", "INVALID_FIELD"]
    assert {code for code, _ in answers} <= {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.DATA_LOSS,
    }
    assert [entry.video_id for entry in listed.videos] == [video.video_id]


@pytest.mark.parametrize(
    "prompts",
    [
        pytest.param([""], id="an empty one"),
        pytest.param(["thing", "  "], id="one of blanks"),
        pytest.param([f"thing {number}" for number in range(1000)], id="a thousand"),
        pytest.param(["t" * 201], id="a long one"),
    ],
)
async def test_prompts_that_cannot_be_looked_for(
    url: str, tmp_path: Path, prompts: list[str]
) -> None:
    async with studio(url, tmp_path / "data", THINGS, with_worker=False) as it:
        video = await it.library.add(made(tmp_path, 5, THINGS), "made.mkv")
        options = detector_pb2.DetectOptions(prompts=prompts)
        spec = pb.TrackJobSpec(
            video_id=video.video_id, detect=live_pb2.DetectStage(options=options)
        )
        request = pb.CreateTrackJobRequest(spec=spec)
        code, _ = await refused(it.library.jobs.CreateTrackJob(request))
        jobs = (await it.library.jobs.ListJobs(pb.ListJobsRequest())).jobs
    assert (code, list(jobs)) == (grpc.StatusCode.INVALID_ARGUMENT, [])
