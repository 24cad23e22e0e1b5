"""The object store: whole objects or none, ranges, deletes under a reader, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kinemask_chassis.errors import ServiceError
from kinemask_gateway.storage import ObjectMissingError, ObjectStore, open_store
from kinemask_gateway.storage.cache import LocalCopies
from obstore.store import MemoryStore

from tests.stream_kit import eventually

MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store("", tmp_path)


async def pieces(count: int, fail_after: int | None = None) -> AsyncIterator[bytes]:
    for number in range(count):
        if number == fail_after:
            raise RuntimeError("the source broke")
        yield bytes([number]) * MIB


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_streamed_object_reads_back_by_ranges(store: ObjectStore) -> None:
    await store.put("videos/a/source", pieces(12))
    assert await store.size("videos/a/source") == 12 * MIB
    across = b"".join([p async for p in store.read("videos/a/source", MIB - 2, 4)])
    assert across == b"\x00\x00\x01\x01"
    tail = [p async for p in store.read("videos/a/source", 11 * MIB, None, MIB // 2)]
    assert [len(p) for p in tail] == [MIB // 2, MIB // 2]
    assert [p async for p in store.read("videos/a/source", 12 * MIB)] == []


async def test_a_broken_source_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the source broke"):
        await store.put("videos/a/source", pieces(20, fail_after=15))
    assert await store.keys("videos") == []
    assert files_below(tmp_path) == []


async def test_a_deleted_object_is_read_to_its_end(store: ObjectStore) -> None:
    await store.put("a", pieces(12))
    reading = store.read("a", chunk_bytes=MIB)
    first = await anext(reading)
    await store.delete("a")
    assert len(first) + sum([len(p) async for p in reading]) == 12 * MIB
    with pytest.raises(ObjectMissingError):
        await store.get("a")


async def test_delete_below_a_prefix_leaves_others(store: ObjectStore) -> None:
    for key in ("jobs/1/a", "jobs/1/b/c", "jobs/10/a"):
        await store.put(key, b"x")
    await store.delete_below("jobs/1")
    assert await store.keys("jobs") == ["jobs/10/a"]
    await store.delete("jobs/1/a")  # a second time changes nothing


async def test_a_local_object_is_its_own_file(store: ObjectStore, tmp_path: Path) -> None:
    await store.put("videos/a/source", b"whole")
    async with store.local("videos/a/source") as path:
        assert path.read_bytes() == b"whole"
        assert path.is_relative_to(tmp_path / "objects")
    with pytest.raises(ObjectMissingError):
        async with store.local("videos/b/source"):
            pass


async def test_a_remote_object_is_copied_for_as_long_as_it_is_there(tmp_path: Path) -> None:
    remote = ObjectStore(MemoryStore(), LocalCopies(tmp_path / "cache"))
    await remote.put("videos/a/source.mp4", pieces(12))
    assert remote.free_bytes() is None
    async with remote.local("videos/a/source.mp4") as path:
        assert (path.suffix, path.stat().st_size) == (".mp4", 12 * MIB)
    assert b"".join([p async for p in remote.read("videos/a/source.mp4", MIB, 3)]) == b"\1\1\1"
    await remote.delete_below("videos/a")
    assert files_below(tmp_path) == []
    with pytest.raises(ObjectMissingError):
        async with remote.local("videos/a/source.mp4"):
            pass


async def test_copies_are_fetched_once_and_make_room(tmp_path: Path) -> None:
    copies, fetched = LocalCopies(tmp_path / "cache", most_bytes=10), []

    def reader(data: bytes) -> AsyncIterator[bytes]:
        async def read() -> AsyncIterator[bytes]:
            fetched.append(data)
            yield data

        return read()

    for data in (b"aaaaaa", b"aaaaaa", b"bbbbbb"):
        async with copies.hold(chr(data[0]), 6, lambda data=data: reader(data)) as path:  # type: ignore[misc]  # the default binds it
            assert path.read_bytes() == data
    assert fetched == [b"aaaaaa", b"bbbbbb"]
    assert len(files_below(tmp_path)) == 1


@pytest.mark.parametrize("url", [pytest.param("gopher://x", id="unknown scheme")])
def test_a_bad_url_says_what_was_expected(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KINEMASK_OBJECT_STORE: expected a folder or s3://"):
        open_store(url, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("a small file system can only be mounted by root, on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("streamed", [False, True], ids=["bytes", "stream"])
async def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, streamed: bool) -> None:
    store = open_store(str(small_disk), small_disk)
    with pytest.raises(ServiceError) as caught:
        await store.put("k", pieces(20) if streamed else bytes(10 * MIB))
    assert caught.value.reason == "DISK_FULL"
    # The file is closed by a thread of the store's.
    await eventually(lambda: not files_below(small_disk) and (store.free_bytes() or 0) > 3 * MIB)


async def test_what_a_killed_process_left_half_written_goes_with_the_rest(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put("uploads/a/0", b"whole")
    await store.put("uploads/b/0", b"another's")
    (tmp_path / "objects" / "uploads" / "a" / "8#1").write_bytes(b"on its way")
    await store.delete_below("uploads/a")
    assert [path.parent.name for path in files_below(tmp_path)] == ["b"]
