"""Uploads: in chunks, resumed, broken off, wrong, and never half of a video."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from kinemask.errors import from_grpc
from kinemask.v1 import videos_pb2 as pb

from tests.gateway.library_kit import (
    LibraryCalls,
    chunk_messages,
    clip,
    eventually,
    library_gateway,
    sha256,
)
from tests.postgres_kit import Postgres

RUBBISH = np.random.default_rng(0).bytes(1_000_000)


def finish(upload_id: str, **fields: object) -> pb.FinishUploadRequest:
    return pb.FinishUploadRequest(upload_id=upload_id, **fields)  # type: ignore[arg-type]  # any field


async def refused(call: object) -> tuple[grpc.StatusCode, str]:
    """Code and reason of a call's error."""
    with pytest.raises(grpc.RpcError) as caught:
        await call  # type: ignore[misc]  # a call of a stub without types
    error = from_grpc(caught.value)
    return error.code, error.reason


async def test_a_video_comes_back_as_it_went(library: LibraryCalls, clip_bytes: bytes) -> None:
    video = await library.add(clip_bytes, "../folder/juggle.MP4", sha256=sha256(clip_bytes).upper())
    assert video.display_name == video.file.file_name == "juggle.MP4"
    assert video.file.sha256 == sha256(clip_bytes)
    assert (video.facts.frame_count, video.facts.width, video.facts.height) == (30, 96, 64)
    assert await library.download(video.video_id) == clip_bytes
    tail = await library.download(video.video_id, offset=1000, length=500, chunk_bytes=64)
    assert tail == clip_bytes[1000:1500]
    assert [p.parts[0] for p in library.files()] == ["videos"] * 3  # source, index, thumbnail


async def test_an_upload_goes_on_where_it_broke_off(library: LibraryCalls) -> None:
    content = RUBBISH * 20  # more than one stored part
    upload_id = await library.start(content, sha256=sha256(content))

    async def broken() -> AsyncIterator[pb.UploadChunksRequest]:
        for number, message in enumerate(chunk_messages(upload_id, content)):
            if number == 40:
                await asyncio.Event().wait()  # the client vanishes
            yield message

    call = library.videos.UploadChunks(broken())
    get = pb.GetUploadRequest(upload_id=upload_id)

    async def is_stored() -> bool:
        return bool((await library.videos.GetUpload(get)).upload.stored_bytes)

    await eventually(is_stored)
    call.cancel()
    await eventually(lambda: is_free(library, upload_id))
    upload = (await library.videos.GetUpload(get)).upload
    assert 8 * 2**20 < upload.stored_bytes < len(content)
    # A chunk that overlaps what is stored is compared, and what is new of it is taken.
    done = await library.send(upload_id, content, upload.stored_bytes - 100_000)
    assert done.stored_bytes == len(content)
    # The bytes are whole (the checksum fits); they are no video all the same.
    code, reason = await refused(library.videos.FinishUpload(finish(upload_id)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_A_VIDEO")
    assert library.files() == []


async def is_free(library: LibraryCalls, upload_id: str) -> bool:
    """Whether nobody sends: an empty UploadChunks is refused otherwise."""
    try:
        await library.videos.UploadChunks(chunk_messages(upload_id, b""))
    except grpc.aio.AioRpcError as error:
        assert from_grpc(error).reason == "UPLOAD_BUSY"
        return False
    return True


@pytest.mark.parametrize(
    ("chunk", "code", "reason"),
    [
        pytest.param(
            pb.FileChunk(offset=10, data=b"x"),
            grpc.StatusCode.OUT_OF_RANGE,
            "WRONG_OFFSET",
            id="a gap",
        ),
        pytest.param(
            pb.FileChunk(offset=0, data=bytes(101)),
            grpc.StatusCode.OUT_OF_RANGE,
            "WRONG_OFFSET",
            id="beyond the size that was said",
        ),
        pytest.param(
            pb.FileChunk(offset=0, data=b"x", crc32=1),
            grpc.StatusCode.DATA_LOSS,
            "CHUNK_DAMAGED",
            id="another checksum",
        ),
    ],
)
async def test_a_wrong_chunk_is_not_stored(
    library: LibraryCalls, chunk: pb.FileChunk, code: grpc.StatusCode, reason: str
) -> None:
    upload_id = await library.start(bytes(100))
    start = pb.UploadChunksRequest(start=pb.UploadStart(upload_id=upload_id))
    sent = library.videos.UploadChunks(iter([start, pb.UploadChunksRequest(chunk=chunk)]))
    assert await refused(sent) == (code, reason)
    upload = (await library.videos.GetUpload(pb.GetUploadRequest(upload_id=upload_id))).upload
    assert upload.stored_bytes == 0


async def test_other_bytes_at_a_place_that_is_stored(library: LibraryCalls) -> None:
    upload_id = await library.start(bytes(100))
    await library.send(upload_id, bytes(60))
    assert (await refused(library.send(upload_id, b"x" * 80)))[1] == "CHUNK_DIFFERS"


async def test_the_first_message_is_the_start(library: LibraryCalls) -> None:
    chunk = pb.UploadChunksRequest(chunk=pb.FileChunk(data=b"x"))
    code, _ = await refused(library.videos.UploadChunks(iter([chunk])))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_only_one_sends_at_a_time(library: LibraryCalls) -> None:
    upload_id = await library.start(bytes(100))
    async with library.stored.library.uploads.sending(upload_id) as sender:
        assert not await is_free(library, upload_id)
        await sender.take(0, bytes(10))
    assert await is_free(library, upload_id)


async def test_missing_bytes_and_a_wrong_checksum(library: LibraryCalls, clip_bytes: bytes) -> None:
    upload_id = await library.start(clip_bytes)
    await library.send(upload_id, clip_bytes[:1000])
    assert (await refused(library.videos.FinishUpload(finish(upload_id))))[1] == "UPLOAD_INCOMPLETE"
    await library.send(upload_id, clip_bytes, 1000)
    wrong = finish(upload_id, sha256="0" * 64)
    code, reason = await refused(library.videos.FinishUpload(wrong))
    assert (code, reason) == (grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH")
    assert library.files() == []
    get = pb.GetUploadRequest(upload_id=upload_id)
    assert (await refused(library.videos.GetUpload(get)))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_damaged_video_is_refused_then_salvaged(
    library: LibraryCalls, tmp_path: Path
) -> None:
    whole = clip(tmp_path, width=320, height=192, codec="mpeg4")
    damaged = bytearray(whole)
    middle = len(whole) // 2
    damaged[middle : middle + 2000] = np.random.default_rng(2).bytes(2000)
    upload_id = await library.start(bytes(damaged))
    await library.send(upload_id, bytes(damaged))
    assert (await refused(library.videos.FinishUpload(finish(upload_id))))[1] == "DAMAGED"
    taken = await library.videos.FinishUpload(
        finish(upload_id, damage_policy=pb.DAMAGE_POLICY_SALVAGE)  # without sending it again
    )
    assert taken.video.facts.damage
    bad = taken.video.facts.damage[0].first_frame_index
    frame = pb.VideoFrame(video_id=taken.video.video_id, frame=pb.FrameSelector(frame_index=bad))
    got = library.videos.GetFrame(pb.GetFrameRequest(frame=frame))
    assert await refused(got) == (grpc.StatusCode.DATA_LOSS, "FRAME_DAMAGED")


async def test_the_same_request_id_gets_the_first_answer(
    library: LibraryCalls, clip_bytes: bytes
) -> None:
    first = await library.start(clip_bytes, request_id="a")
    assert await library.start(clip_bytes, request_id="a") == first
    code, reason = await refused(library.start(clip_bytes[:-1], request_id="a"))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
    await library.send(first, clip_bytes)
    answers = await asyncio.gather(
        *(library.videos.FinishUpload(finish(first, request_id="b")) for _ in range(2)),
        return_exceptions=True,
    )
    again = await library.videos.FinishUpload(finish(first, request_id="b"))
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert good
    assert {answer.video.video_id for answer in [*good, again]} == {again.video.video_id}
    assert len((await library.videos.ListVideos(pb.ListVideosRequest())).videos) == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"sha256": "xyz"}, id="no checksum"),
        pytest.param({"name": "//"}, id="no name"),
        pytest.param({"display_name": "a\0b"}, id="a NUL"),
        pytest.param({"metadata": {"a": "x" * 70_000}}, id="too much metadata"),
    ],
)
async def test_what_an_upload_may_not_say(library: LibraryCalls, fields: dict[str, object]) -> None:
    name = str(fields.pop("name", "clip.mp4"))
    code, _ = await refused(library.start(b"x", name, **fields))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_limits_and_lapsing(postgres: Postgres, tmp_path: Path, clip_bytes: bytes) -> None:
    url = postgres.new_database()
    limit = len(clip_bytes)
    async with library_gateway(
        url, tmp_path / "data", max_video_bytes=limit, upload_ttl_s=0.5
    ) as library:
        code, reason = await refused(library.start(clip_bytes + b"x"))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILE_TOO_LARGE")
        upload_id = await library.start(clip_bytes)
        await library.send(upload_id, clip_bytes)
        async with asyncio.timeout(20):
            while library.files():
                await library.stored.library.sweep()
        get = pb.GetUploadRequest(upload_id=upload_id)
        assert (await refused(library.videos.GetUpload(get)))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_cancelled_upload_is_gone(library: LibraryCalls, clip_bytes: bytes) -> None:
    upload_id = await library.start(clip_bytes)
    await library.send(upload_id, clip_bytes)
    cancel = pb.CancelUploadRequest(upload_id=upload_id, request_id="c")
    await library.videos.CancelUpload(cancel)
    await library.videos.CancelUpload(cancel)
    assert library.files() == []
    assert (await refused(library.videos.FinishUpload(finish(upload_id))))[
        0
    ] is grpc.StatusCode.NOT_FOUND
