"""The SDK on a real gateway with a library: uploads, frames, downloads, jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kinemask import Client
from kinemask.errors import DataLossError, InvalidArgumentError, NotFoundError
from kinemask.stored import Job
from kinemask.video import VideoReader

from tests.gateway.jobs_kit import counting, jobs_gateway, worker
from tests.gateway.library_kit import clip
from tests.postgres_kit import Postgres, postgres
from tests.threaded_kit import InThread

__all__ = ["postgres"]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[Client]:
    gateway = InThread(jobs_gateway(url, tmp_path / "data"))
    with gateway as library, Client(library.address) as client:
        yield client


@pytest.fixture
def video_path(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(tmp_path))
    return path


def test_up_and_down_again(client: Client, video_path: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    video = client.videos.upload(
        video_path,
        name="Door",
        metadata={"shop": 1},
        on_bytes=lambda done, total: told.append((done, total)),
    )
    size = video_path.stat().st_size
    assert told[-1] == (size, size)
    assert (video.name, video.metadata, video.facts.frame_count) == ("Door", {"shop": 1}, 30)
    target = tmp_path / "down.mp4"
    (tmp_path / "down.mp4.part").write_bytes(video_path.read_bytes()[:1000])  # broken off before
    client.videos.download(video.video_id, target)
    assert target.read_bytes() == video_path.read_bytes()
    assert not (tmp_path / "down.mp4.part").exists()
    (tmp_path / "other.mp4.part").write_bytes(b"x" * 1000)  # not of this file
    with pytest.raises(DataLossError):
        client.videos.download(video.video_id, tmp_path / "other.mp4")
    assert not (tmp_path / "other.mp4").exists()


def test_frames_lists_and_changes(client: Client, video_path: Path) -> None:
    video = client.videos.upload(video_path)
    again = client.videos.upload(video_path)  # the same file twice is two videos
    assert [v.video_id for v in client.videos.list()] == [again.video_id, video.video_id]
    expected = [frame.image for frame in VideoReader(video_path)]
    found = client.videos.frame(video.video_id, index=7)
    assert np.array_equal(found.image, expected[7])
    assert client.videos.frame(video.video_id, time_s=found.time_s).index == 7
    one, two = (client.videos.frame(video.video_id, seed=3).index for _ in range(2))
    assert one == two
    assert client.videos.thumbnail(video.video_id).startswith(b"\xff\xd8")
    assert client.videos.update(video.video_id, name="New").name == "New"
    assert client.videos.probe(video.video_id).frame_count_exact
    client.videos.delete(video.video_id)
    with pytest.raises(NotFoundError):
        client.videos.get(video.video_id)
    with pytest.raises(InvalidArgumentError, match="29"):
        client.videos.frame(again.video_id, index=30)


def test_an_upload_goes_on_after_it_was_interrupted(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    size = 20_000_000
    path.write_bytes(clip(tmp_path) + size.to_bytes(4, "big") + b"free" + bytes(size - 8))

    def interrupt(done: int, total: int) -> None:
        if done > 15_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.videos.upload(path, on_bytes=interrupt)
    told: list[int] = []
    video = client.videos.upload(path, on_bytes=lambda done, _: told.append(done))
    assert told[0] > 8_000_000  # what was stored was not sent again
    assert video.size_bytes == path.stat().st_size


def test_jobs_are_watched_stopped_and_read(
    client: Client, url: str, video_path: Path, tmp_path: Path
) -> None:
    video_id = client.videos.upload(video_path).video_id
    job_id = _queued(client, video_id, frames=20, pause_ms=20)
    seen: list[Job] = []
    with InThread(worker(url, tmp_path / "data")):
        done = client.jobs.wait(job_id, seen.append)
        failed = client.jobs.wait(_queued(client, video_id, fail="no such thing"))
    assert (done.state, done.kind, done.video_id) == ("succeeded", "track", video_id)
    assert seen[-1] == done
    client.jobs.download(job_id, tmp_path / "numbers.txt")
    assert (tmp_path / "numbers.txt").read_text().split() == [str(n) for n in range(20)]
    assert failed.state == "failed"
    assert "no such thing" in str(failed.error)
    waiting = _queued(client, video_id)
    assert client.jobs.cancel(waiting).state == "cancelled"
    assert [job.job_id for job in client.jobs.list(states=["cancelled"])] == [waiting]
    client.jobs.delete(waiting)
    with pytest.raises(NotFoundError):
        client.jobs.get(waiting)


def _queued(client: Client, video_id: str, **told: object) -> str:
    """By the stub: the SDK has no words for a job that only counts."""
    import grpc
    from kinemask.v1 import jobs_pb2_grpc

    with grpc.insecure_channel(client._settings.target.target) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        answer = stub.CreateTrackJob(counting(video_id, **told))
    return str(answer.job.job_id)
