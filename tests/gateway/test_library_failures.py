"""What goes wrong around the library: a full disk, a killed gateway, a database that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import psutil
import pytest
from kinemask import Client
from kinemask.cli.up import Stack
from kinemask.v1 import videos_pb2 as pb
from kinemask_gateway.storage.objects import PART_BYTES

from tests.gateway.library_kit import LibraryCalls, eventually, library_gateway, sha256
from tests.gateway.test_library_uploads import finish, refused
from tests.postgres_kit import Postgres
from tests.threaded_kit import wait_until

MB = 1_000_000


def padded(clip_bytes: bytes, size: int) -> bytes:
    """The same video as a larger file: a box of nothing at its end."""
    rest = size - len(clip_bytes)
    return clip_bytes + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("a small file system can only be mounted by root, on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_stops_an_upload_and_nothing_else(
    postgres: Postgres, tmp_path: Path, disk: Path, clip_bytes: bytes
) -> None:
    async with library_gateway(
        postgres.new_database(), tmp_path / "data", object_store=str(disk)
    ) as library:
        kept = await library.add(clip_bytes)
        content = padded(clip_bytes, 30 * MB)
        upload_id = await library.start(content)
        await library.send(upload_id, content[: 10 * MB])
        filler = disk / "filler"
        with filler.open("wb") as file:  # somebody else takes the rest
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 2 * MB:
                file.write(bytes(MB))
        code, reason = await refused(library.start(content))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        code, reason = await refused(library.send(upload_id, content, 10 * MB))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        assert await library.download(kept.video_id) == clip_bytes
        get = pb.GetUploadRequest(upload_id=upload_id)
        stored = (await library.videos.GetUpload(get)).upload.stored_bytes
        assert stored == 10 * MB  # what was there before
        filler.write_bytes(bytes(110 * MB))  # room for the parts, none for the composed file
        await library.send(upload_id, content, stored)
        code, reason = await refused(library.videos.FinishUpload(finish(upload_id)))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        assert len(await library.stored.library.store.keys("videos")) == 3  # the first one's
        filler.unlink()
        video = (await library.videos.FinishUpload(finish(upload_id))).video
        assert video.file.sha256 == sha256(content)


def test_a_gateway_that_is_killed_loses_no_upload(
    postgres: Postgres, tmp_path: Path, clip_bytes: bytes
) -> None:
    path = tmp_path / "large.mp4"
    path.write_bytes(padded(clip_bytes, 40 * MB))
    told = {
        "KINEMASK_DATABASE_URL": postgres.new_database(),
        "KINEMASK_DATA_DIR": str(tmp_path / "data"),
        "KINEMASK_LIBRARY": "on",
    }
    parts = tmp_path / "data" / "objects" / "uploads"
    sent: list[int] = []
    with Stack(["gateway"], environment=told) as stack, Client(stack.gateway_address) as client:
        killed = threading.Event()

        def kill_once(done: int, total: int) -> None:
            sent.append(done)
            if done > 31 * MB and not killed.is_set():
                killed.set()
                # The third part follows once the second is stored for good.
                third = f"{2 * PART_BYTES:020d}-*"
                wait_until(lambda: any(parts.rglob(third)))
                psutil.Process(stack.process_ids("gateway")[0]).send_signal(signal.SIGKILL)

        video = client.videos.upload(path, on_bytes=kill_once)
        assert killed.is_set()
        assert video.sha256 == sha256(path.read_bytes())
        restarted_at = next(b for a, b in pairwise(sent) if b < a)
        assert restarted_at > 2 * PART_BYTES  # what was stored was not sent again
        assert [v.video_id for v in client.videos.list()] == [video.video_id]
    objects = [p for p in (tmp_path / "data" / "objects").rglob("*") if p.is_file()]
    assert [p.parts[-3] for p in objects] == ["videos"] * 3


async def test_a_database_that_goes_away_and_comes_back(
    postgres: Postgres, tmp_path: Path, clip_bytes: bytes
) -> None:
    async with library_gateway(postgres.new_database(), tmp_path / "data") as library:
        video = await library.add(clip_bytes)
        await asyncio.to_thread(postgres.kill)
        try:
            ask = pb.GetVideoRequest(video_id=video.video_id)
            code, reason = await refused(library.videos.GetVideo(ask))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
        finally:
            await asyncio.to_thread(postgres.start)
        await eventually(lambda: is_there(library, video.video_id))


async def is_there(library: LibraryCalls, video_id: str) -> bool:
    try:
        await library.videos.GetVideo(pb.GetVideoRequest(video_id=video_id))
    except grpc.aio.AioRpcError:
        return False
    return True
