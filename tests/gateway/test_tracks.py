"""Stored tracks: what was written comes back, from anywhere, in any process, over the API."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import grpc
import numpy as np
import pytest
from kinemask import masks, wire
from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import media_pb2, videos_pb2
from kinemask_chassis.server import running
from kinemask_gateway.jobs.body import JobBody, JobContext, JobKind, JobOutcome
from kinemask_gateway.jobs.settings import WorkerSettings
from kinemask_gateway.jobs.worker import WorkerService
from kinemask_gateway.storage import ObjectStore, open_store
from kinemask_gateway.tracks import records
from kinemask_gateway.tracks.chunks import decode_chunk, encode_chunk
from kinemask_gateway.tracks.reader import TracksDamagedError, TracksReader
from kinemask_gateway.tracks.values import (
    MaskOrigin,
    ObjectState,
    TrackedFrame,
    TrackedName,
    TrackedObject,
)
from kinemask_gateway.tracks.writer import StoredTracks, TracksWriter

from tests.gateway.jobs_kit import STALE_S, jobs_gateway, queued, watched
from tests.gateway.library_kit import LibraryCalls
from tests.postgres_kit import Postgres

SIZE = (40, 60)
FRAMES = 50


def square(object_id: int, frame_index: int) -> TrackedObject:
    mask = np.zeros(SIZE, np.bool_)
    mask[10:20, frame_index % 40 : frame_index % 40 + 10] = True
    named = TrackedName("p1", "Ada", 0.5, frame_index > 5, ("link", "https://a.example", "Ada"))
    return TrackedObject(
        object_id,
        "face",
        "faces",
        0.75,
        ObjectState.CONFIRMED,
        MaskOrigin.FOLLOWED,
        (float(frame_index % 40), 10.0, float(frame_index % 40 + 10), 20.0),
        masks.encode_rle(mask),
        100,
        named if object_id == 1 else None,
    )


def absent(object_id: int) -> TrackedObject:
    return TrackedObject(object_id, "ball", "", 0.0, ObjectState.LOST, MaskOrigin.LEAK_GUARD)


def frames(count: int = FRAMES, first: int = 0) -> list[TrackedFrame]:
    """The first has no objects, later ones two."""
    return [
        TrackedFrame(
            index,
            index * 40_000,
            () if index == first else (square(1, index), absent(2), square(7, index)),
            detected=index % 5 == 0,
            scene_cut=index == 20,
        )
        for index in range(first, first + count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store("", tmp_path)


async def written(store: ObjectStore, given: Sequence[TrackedFrame]) -> StoredTracks:
    writer = TracksWriter(store, lambda name: f"jobs/a/{name}", SIZE, frames_per_chunk=16)
    for frame in given:
        await writer.add(frame)
    return await writer.finish()


def test_a_chunk_comes_back() -> None:
    given = frames()
    blob = encode_chunk(given)
    assert decode_chunk(blob) == tuple(given)
    assert encode_chunk(decode_chunk(blob)) == blob
    assert decode_chunk(encode_chunk([])) == ()


def test_a_mask_is_decoded_and_an_absent_one_is_empty() -> None:
    assert square(1, 3).mask(*SIZE)[10:20, 3:13].all()
    assert square(1, 3).mask(*SIZE).sum() == 100
    assert not absent(2).mask(*SIZE).any()
    assert not absent(2).present


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param(None, None, id="all"),
        pytest.param(10, 10, id="one frame"),
        pytest.param(13, 40, id="over chunk borders"),
        pytest.param(32, 47, id="exactly a chunk"),
        pytest.param(48, 49, id="the last chunk is short"),
    ],
)
async def test_a_range_is_read(store: ObjectStore, first: int | None, last: int | None) -> None:
    given = frames()
    stored = await written(store, given)
    reader = await TracksReader.open(store, stored.manifest_key)
    low, high = first or 0, FRAMES - 1 if last is None else last
    assert list(reader.frames(first, last)) == given[low : high + 1]
    assert reader.frame(high) == given[high]
    assert [c.frame_count for c in reader.manifest.chunks] == [16, 16, 16, 2]


async def test_tracks_may_begin_in_the_middle(store: ObjectStore) -> None:
    stored = await written(store, frames(20, first=100))
    reader = await TracksReader.open(store, stored.manifest_key)
    assert (reader.manifest.first_frame_index, reader.manifest.last_frame_index) == (100, 119)
    assert reader.frame(119).frame_index == 119
    with pytest.raises(IndexError, match="expected a frame from 100 to 119, got 99"):
        reader.frame(99)
    with pytest.raises(IndexError):
        reader.frames(100, 120)


async def test_a_writer_goes_on_after_its_chunks(store: ObjectStore) -> None:
    given = frames()
    whole = await written(store, given)
    first = TracksWriter(store, lambda name: f"jobs/b/{name}", SIZE, frames_per_chunk=16)
    for frame in given[:40]:
        await first.add(frame)
    assert [entry.frame_count for entry in first.entries] == [16, 16]
    second = TracksWriter(
        store, lambda name: f"jobs/c/{name}", SIZE, entries=first.entries, frames_per_chunk=16
    )
    assert second.next_frame_index == 32
    for frame in given[32:]:
        await second.add(frame)
    again = await second.finish()
    assert again.manifest.sha256 == whole.manifest.sha256
    reader = await TracksReader.open(store, again.manifest_key)
    assert list(reader.frames()) == given


async def test_frames_must_follow_each_other(store: ObjectStore) -> None:
    writer = TracksWriter(store, str, SIZE)
    await writer.add(frames()[0])
    with pytest.raises(ValueError, match="expected frame 1, got 2"):
        await writer.add(frames()[2])
    with pytest.raises(ValueError, match="at least one frame"):
        await TracksWriter(store, str, SIZE).finish()


async def test_other_tracks_have_another_checksum(store: ObjectStore) -> None:
    one = await written(store, frames())
    other = await written(store, frames()[:-1])
    assert one.manifest.sha256 != other.manifest.sha256


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
async def test_damage_is_found(store: ObjectStore, tmp_path: Path, damage: str) -> None:
    stored = await written(store, frames())
    path = tmp_path / "objects" / stored.manifest.chunks[1].key
    blob = bytearray(path.read_bytes())
    blob[60] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(blob[:-3] if damage == "cut" else blob)
    reader = await TracksReader.open(store, stored.manifest_key)
    assert reader.frame(0) == frames()[0]
    with pytest.raises(TracksDamagedError):
        reader.frame(20)


async def test_many_threads_and_a_process_read(store: ObjectStore) -> None:
    stored = await written(store, frames())
    reader = await TracksReader.open(store, stored.manifest_key)

    def ten(at: int) -> list[TrackedFrame]:
        return list(reader.frames(at, at + 9))

    found = await asyncio.gather(*(asyncio.to_thread(ten, at) for at in range(40)))
    assert all(part == frames()[at : at + 10] for at, part in enumerate(found))
    assert pickle.loads(pickle.dumps(reader)).frame(30) == frames()[30]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(reader.frame, 30).result() == frames()[30]


class Storing(JobBody):
    """Stores the tracks that this file makes up."""

    async def run(self, context: JobContext) -> JobOutcome:
        writer = TracksWriter(context.store, context.key, SIZE)
        for frame in frames():
            await writer.add(frame)
        stored = await writer.finish()
        result = pb.TrackJobResult(frame_count=FRAMES)
        return JobOutcome(
            result.SerializeToString(),
            on_commit=lambda connection: records.add(connection, context.job_id, stored),
        )


def storing(settings: WorkerSettings) -> Mapping[JobKind, JobBody]:
    return {JobKind.TRACK: Storing()}


class TestGetTracks:
    @pytest.fixture
    async def calls(self, postgres: Postgres, tmp_path: Path) -> AsyncIterator[LibraryCalls]:
        url, data = postgres.new_database(), tmp_path / "data"
        told = WorkerSettings(port=0, database_url=url, data_dir=data, worker_stale_s=STALE_S)
        async with jobs_gateway(url, data) as calls, running(WorkerService(told, storing)):
            yield calls

    async def told(
        self, calls: LibraryCalls, request: pb.GetTracksRequest
    ) -> list[pb.GetTracksResponse]:
        return [reply async for reply in calls.jobs.GetTracks(request)]

    async def test_frames_and_masks(self, calls: LibraryCalls, clip_bytes: bytes) -> None:
        job_id = await queued(calls, (await calls.add(clip_bytes)).video_id)
        await watched(calls, job_id)
        told = await self.told(calls, pb.GetTracksRequest(job_id=job_id))
        assert [(r.frame_index, r.time_us, r.detected) for r in told] == [
            (n, n * 40_000, n % 5 == 0) for n in range(FRAMES)
        ]
        first = told[10].objects[0]
        assert (first.object.object_id, first.origin) == (1, pb.MASK_ORIGIN_FOLLOWED)
        assert first.object.name.name == "Ada"
        assert first.object.name.action.kind == "link"
        assert wire.mask_from_message(first.object.mask).sum() == first.object.area_px == 100
        assert not told[10].objects[1].object.HasField("mask")

        wanted = videos_pb2.FrameRange(first_frame_index=15, last_frame_index=1000)
        request = pb.GetTracksRequest(job_id=job_id, range=wanted, object_ids=[7])
        request.mask_encoding = media_pb2.MASK_ENCODING_BITS
        told = await self.told(calls, request)
        assert [r.frame_index for r in told] == list(range(15, FRAMES))
        assert {len(r.objects) for r in told} == {1}
        assert wire.mask_from_message(told[0].objects[0].object.mask).sum() == 100

        wanted = videos_pb2.FrameRange(first_frame_index=FRAMES)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.told(calls, pb.GetTracksRequest(job_id=job_id, range=wanted))
        assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE

        await calls.jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.told(calls, pb.GetTracksRequest(job_id=job_id))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert not [path for path in calls.files() if path.parts[0] == "jobs"]


async def test_tracks_of_a_job_that_has_not_finished(
    postgres: Postgres, tmp_path: Path, clip_bytes: bytes
) -> None:
    async with jobs_gateway(postgres.new_database(), tmp_path / "data") as calls:
        job_id = await queued(calls, (await calls.add(clip_bytes)).video_id)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await anext(aiter(calls.jobs.GetTracks(pb.GetTracksRequest(job_id=job_id))))
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
