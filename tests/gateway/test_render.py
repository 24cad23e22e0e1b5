"""Render jobs: pictures, times, sound, ranges, names, the audit record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import grpc
import numpy as np
import pytest
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, videos_pb2
from kinemask.video import VideoReader, probe_video

from tests.client.test_video import audio_of, times_of
from tests.gateway.jobs_kit import jobs_gateway
from tests.gateway.library_kit import LibraryCalls, clip, eventually
from tests.gateway.render_kit import (
    finished,
    output,
    render_request,
    render_worker,
    rule,
    track_job,
)
from tests.gateway.render_worker import disc
from tests.gateway.test_library_uploads import refused
from tests.postgres_kit import Postgres

HEIGHT, WIDTH = 64, 96
COLOR = 0x00FF00


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
async def library(url: str, tmp_path: Path) -> AsyncIterator[LibraryCalls]:
    data = tmp_path / "data"
    async with jobs_gateway(url, data) as calls, render_worker(url, data):
        yield calls


async def rendered(
    library: LibraryCalls, request: pb.CreateRenderJobRequest, folder: Path
) -> tuple[pb.Job, Path]:
    job = await finished(library, request)
    assert job.state == pb.JOB_STATE_SUCCEEDED, job.error
    path = folder / "out.mp4"
    path.write_bytes(await output(library, job))
    return job, path


async def has_no_chunks(library: LibraryCalls) -> bool:
    """What a render needed to go on is removed a moment after it has succeeded."""
    return not [path for path in library.files() if "checkpoints" in path.parts]


def solid(**fields: object) -> pb.RenderRule:
    made = rule("solid", **fields)
    made.effects[0].color_rgb = COLOR
    return made


def is_green(path: Path, frame_index: int, object_id: int) -> bool:
    """Whether the middle of an object is green on a frame."""
    frame = list(VideoReader(path))[frame_index].image
    mask = disc(object_id, frame_index, HEIGHT, WIDTH)
    color = np.median(frame[mask], axis=0)
    return bool(color[1] > 200 and color[0] < 60 and color[2] < 60)


async def test_a_render_keeps_times_and_sound(library: LibraryCalls, tmp_path: Path) -> None:
    content = clip(tmp_path, 70, audio_codec="aac")
    (tmp_path / "in.mp4").write_bytes(content)
    track_id = await track_job(library, content)
    job, path = await rendered(library, render_request(track_id), tmp_path)
    assert times_of(path) == times_of(tmp_path / "in.mp4")
    assert audio_of(path) == audio_of(tmp_path / "in.mp4")
    assert job.render.crf == 20
    assert job.render.audio == pb.AUDIO_POLICY_KEEP
    assert job.render.rules[0].effects[0].intensity == pytest.approx(0.75)
    assert [entry.output_id for entry in job.outputs] == ["video", "audit"]
    _, path = await rendered(
        library, render_request(track_id, audio=pb.AUDIO_POLICY_STRIP), tmp_path
    )
    assert not probe_video(path).has_audio
    await eventually(lambda: has_no_chunks(library))
    assert not list((library.data_dir / "scratch").iterdir())
    again, path = await rendered(library, render_request(track_id), tmp_path)
    assert again.outputs[0].file == job.outputs[0].file  # whoever does it, and however often


async def test_who_is_drawn_on(library: LibraryCalls, tmp_path: Path) -> None:
    track_id = await track_job(library, clip(tmp_path, 30))
    for made, first, later in (
        (solid(), {1, 2, 3}, {1, 2, 3}),
        (solid(object_ids=[2]), {2}, {2}),
        (solid(prompts=["FACE "]), {1, 3}, {1, 3}),
        (solid(prompts=["face"], object_ids=[1, 2]), {1}, {1}),
        # Who is undecided is covered: Ada until frame 10, and what is not Ada, a cup too.
        (solid(except_names=["ada"]), {1, 2, 3}, {2, 3}),
        (solid(only_names=["Ada"]), {1}, {1}),
        (solid(only_names=["Bob"], prompts=["face"]), {1}, set()),
    ):
        _, path = await rendered(library, render_request(track_id, made), tmp_path)
        for frame_index, expected in ((4, first), (20, later)):
            drawn = {n for n in (1, 2, 3) if is_green(path, frame_index, n)}
            assert drawn == expected, (made, frame_index)


async def test_several_rules_and_labels(library: LibraryCalls, tmp_path: Path) -> None:
    track_id = await track_job(library, clip(tmp_path, 30))
    rules = [
        rule("cutout", object_ids=[1]),
        rule("desaturate", "outline", object_ids=[1], show_labels=True),
    ]
    rules[0].effects[0].color_rgb = 0x0000FF
    _, path = await rendered(library, render_request(track_id, *rules), tmp_path)
    image = list(VideoReader(path))[3].image
    corner, middle = image[2, 90].astype(int), image[32, 17].astype(int)
    assert np.ptp(corner) < 12  # blue, and then grey
    assert corner.max() < 60
    assert np.ptp(middle) > 60  # as it was


async def test_the_audit_record(library: LibraryCalls, tmp_path: Path) -> None:
    content = clip(tmp_path, 30)
    track_id = await track_job(library, content)
    made = solid(except_names=["Ada"], prompts=["face"])
    job, path = await rendered(library, render_request(track_id, made), tmp_path)
    told = json.loads(await output(library, job, "audit"))
    record = job.render_result.audit
    assert told["input"]["sha256"] == hashlib.sha256(content).hexdigest() == record.input.sha256
    assert told["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record.input_frame_count, record.output_frame_count) == (30, 30)
    assert told["stages"][0]["service"]["revision"] == "r7"
    assert told["track"]["detect"]["options"]["prompts"] == ["words=1"]
    assert told["render"]["rules"][0]["effects"][0]["intensity"] == 1.0
    assert len(told["tracks_sha256"]) == 64
    ada, cup, stranger = record.objects
    assert (ada.name, ada.frame_count, ada.covered_frame_count) == ("Ada", 30, 10)
    assert ada.mean_coverage == pytest.approx(1 / 3, abs=0.1)  # beside those who are covered
    assert list(ada.effects) == ["solid"]
    assert (cup.frame_count, list(cup.effects)) == (30, [])
    assert (stranger.covered_frame_count, stranger.min_coverage) == (30, 1.0)
    assert (stranger.guarded_frame_count, ada.guarded_frame_count) == (5, 0)
    risks = [
        (r.first_frame_index, r.last_frame_index, r.object_id, r.reason) for r in record.at_risk
    ]
    assert risks == [
        (0, 9, 1, pb.RISK_REASON_NAME_UNDECIDED),
        (5, 9, 3, pb.RISK_REASON_GAP_COVERED),
    ]


async def test_a_range_in_a_smaller_size(library: LibraryCalls, tmp_path: Path) -> None:
    content = clip(tmp_path, 60, audio_codec="aac")
    track_id = await track_job(library, content)
    asked = render_request(
        track_id,
        range=videos_pb2.FrameRange(first_frame_index=10, last_frame_index=34),
        max_side_px=50,
        crf=30,
    )
    job, path = await rendered(library, asked, tmp_path)
    info = probe_video(path)
    assert (info.width, info.height, info.frame_count) == (50, 32, 25)
    assert times_of(path) == [Fraction(n, 25) for n in range(25)]
    assert info.has_audio
    assert [t for t, _ in audio_of(path)][-1] < 1
    assert job.render_result.audit.output_frame_count == 25


async def test_only_what_was_looked_at_is_rendered(library: LibraryCalls, tmp_path: Path) -> None:
    track_id = await track_job(library, clip(tmp_path, 30), late=12)
    _, path = await rendered(library, render_request(track_id), tmp_path)
    assert len(times_of(path)) == 18
    outside = render_request(track_id, range=videos_pb2.FrameRange(last_frame_index=5))
    failed = await finished(library, outside)
    assert (failed.state, failed.error.code) == (pb.JOB_STATE_FAILED, 9)
    assert "frames 12 to 29" in failed.error.message


async def test_a_render_becomes_a_video(library: LibraryCalls, tmp_path: Path) -> None:
    track_id = await track_job(library, clip(tmp_path, 30))
    job, path = await rendered(library, render_request(track_id, add_to_library=True), tmp_path)
    video_id = job.render_result.video_id
    answer = await library.videos.GetVideo(videos_pb2.GetVideoRequest(video_id=video_id))
    assert answer.video.source_job_id == job.job_id
    assert await library.download(video_id) == path.read_bytes()
    listed = await library.videos.ListVideos(videos_pb2.ListVideosRequest(include_renders=True))
    assert len(listed.videos) == 2


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"width": 97, "height": 63, "codec": "mpeg4"}, id="odd"),
        pytest.param({"rotation_ccw": 90}, id="turned"),
        pytest.param({"pixel_format": "yuv420p10le"}, id="10 bits"),
        pytest.param({"pixel_format": "yuv444p"}, id="4:4:4"),
    ],
)
async def test_kinds_of_sources(
    library: LibraryCalls, tmp_path: Path, source: dict[str, object]
) -> None:
    content = clip(tmp_path, 30, **source)
    (tmp_path / "in.mp4").write_bytes(content)
    info = probe_video(tmp_path / "in.mp4")
    track_id = await track_job(library, content)
    _, path = await rendered(library, render_request(track_id, solid()), tmp_path)
    assert times_of(path) == times_of(tmp_path / "in.mp4")
    assert probe_video(path).rotation == 0
    before, after = (list(VideoReader(p))[7].image for p in (tmp_path / "in.mp4", path))
    mask = np.logical_or.reduce([disc(n, 7, info.height, info.width) for n in (1, 2, 3)])
    after = after[: info.height, : info.width]
    inside, outside = after[mask].astype(int), np.abs(after.astype(int) - before)[~mask]
    assert (np.median(inside, axis=0) > (-1, 200, -1)).all()
    assert np.median(outside) <= 4


async def test_what_cannot_be_rendered(library: LibraryCalls, tmp_path: Path) -> None:
    track_id = await track_job(library, clip(tmp_path, 30))
    create = library.jobs.CreateRenderJob
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await create(render_request(track_id, rule("melt")))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "blur, pixelate" in (raised.value.details() or "")
    assert (await refused(create(render_request(track_id, rule("melt")))))[1] == "UNKNOWN_EFFECT"
    nobody = render_request(track_id, rule("blur", object_ids=[1, 77]))
    code, reason = await refused(create(nobody))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NO_SUCH_OBJECT")
    faceless = await track_job(library, clip(tmp_path, 5), faceless=1)
    named = create(render_request(faceless, rule("blur", except_names=["Ada"])))
    assert (await refused(named))[1] == "NO_NAMES"
    gone = create(render_request("nowhere"))
    assert (await refused(gone))[0] is grpc.StatusCode.NOT_FOUND
    wrong = await track_job(library, clip(tmp_path, 30), wrong=1)
    failed = await finished(library, render_request(wrong))
    assert (failed.state, failed.error.code) == (pb.JOB_STATE_FAILED, 9)
    assert "96x66" in failed.error.message


def test_effects_of_messages_have_every_field() -> None:
    # A field that is added to Effect must be thought of in rules.py.
    assert [field.name for field in live_pb2.Effect.DESCRIPTOR.fields] == [
        *("name", "intensity", "color_rgb", "grow_px", "region", "grow_fraction"),
    ]
