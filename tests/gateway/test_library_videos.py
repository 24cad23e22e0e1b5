"""Stored videos: lists, frames, thumbnails, probes, changes and deletes."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import struct_pb2
from kinemask import wire
from kinemask.v1 import videos_pb2 as pb
from kinemask.video import VideoReader

from tests.gateway.library_kit import LibraryCalls, library_gateway
from tests.gateway.test_library_uploads import refused
from tests.postgres_kit import Postgres


def frame_of(video_id: str, **selector: object) -> pb.VideoFrame:
    return pb.VideoFrame(video_id=video_id, frame=pb.FrameSelector(**selector))  # type: ignore[arg-type]  # one of three


def names(page: pb.ListVideosResponse) -> list[str]:
    return [video.display_name for video in page.videos]


async def test_pages_stay_right_while_videos_come_and_go(
    library: LibraryCalls, clip_bytes: bytes
) -> None:
    ids = [
        (await library.add(clip_bytes, display_name=f"Clip {number}")).video_id
        for number in range(5)
    ]
    ask = pb.ListVideosRequest(page_size=2)
    first = await library.videos.ListVideos(ask)
    assert names(first) == ["Clip 4", "Clip 3"]
    await library.videos.DeleteVideo(pb.DeleteVideoRequest(video_id=ids[3]))
    await library.add(clip_bytes, display_name="newer")
    ask.page_token = first.next_page_token
    second = await library.videos.ListVideos(ask)
    assert names(second) == ["Clip 2", "Clip 1"]
    ask.page_token = second.next_page_token
    last = await library.videos.ListVideos(ask)
    assert (names(last), last.next_page_token) == (["Clip 0"], "")
    found = await library.videos.ListVideos(pb.ListVideosRequest(name_contains="cLIP 2"))
    assert names(found) == ["Clip 2"]
    by_sum = pb.ListVideosRequest(sha256=found.videos[0].file.sha256)
    assert len((await library.videos.ListVideos(by_sum)).videos) == 5
    other = pb.ListVideosRequest(name_contains="x", page_token=first.next_page_token)
    assert (await refused(library.videos.ListVideos(other)))[1] == "BAD_PAGE_TOKEN"
    rubbish = pb.ListVideosRequest(page_token="rubbish")
    assert (await refused(library.videos.ListVideos(rubbish)))[1] == "BAD_PAGE_TOKEN"


async def test_frames_by_index_time_and_at_random(
    library: LibraryCalls, clip_bytes: bytes, tmp_path: Path
) -> None:
    video_id = (await library.add(clip_bytes)).video_id
    (tmp_path / "a.mp4").write_bytes(clip_bytes)
    expected = [frame.image for frame in VideoReader(tmp_path / "a.mp4")]

    async def got(**selector: object) -> tuple[int, int]:
        request = pb.GetFrameRequest(
            frame=frame_of(video_id, **selector), format=pb.PICTURE_FORMAT_PNG
        )
        answer = await library.videos.GetFrame(request)
        image = wire.image_from_message(answer.image)
        assert np.array_equal(image, expected[answer.frame_index])
        return answer.frame_index, answer.time_us

    assert await got(frame_index=17) == (17, 680_000)
    assert await got(time_us=679_999) == (16, 640_000)
    assert await got(time_us=680_000) == (17, 680_000)
    seeded = pb.RandomFrame(seed=5)
    assert await got(random=seeded) == await got(random=seeded)
    assert len({await got(random=pb.RandomFrame(seed=n)) for n in range(12)}) > 3
    await got(random=pb.RandomFrame())


@pytest.mark.parametrize(
    "selector",
    [pytest.param({"frame_index": 30}, id="after the last"), {"time_us": 1_200_000}],
)
async def test_frames_that_are_not_there(
    library: LibraryCalls, clip_bytes: bytes, selector: dict[str, int]
) -> None:
    video_id = (await library.add(clip_bytes)).video_id
    asked = pb.GetFrameRequest(frame=frame_of(video_id, **selector))
    code, _ = await refused(library.videos.GetFrame(asked))
    assert code is grpc.StatusCode.OUT_OF_RANGE
    with pytest.raises(grpc.aio.AioRpcError, match="29"):
        await library.videos.GetFrame(asked)


async def test_pictures_are_made_smaller(library: LibraryCalls, clip_bytes: bytes) -> None:
    video_id = (await library.add(clip_bytes)).video_id
    asked = pb.GetFrameRequest(frame=frame_of(video_id, frame_index=0), max_side_px=48)
    small = await library.videos.GetFrame(asked)
    assert (small.width, small.height) == (48, 32)
    assert wire.image_from_message(small.image).shape == (32, 48, 3)
    thumbnail = await library.videos.GetThumbnail(
        pb.GetThumbnailRequest(video_id=video_id, max_side_px=24)
    )
    assert (thumbnail.width, thumbnail.height) == (24, 16)
    assert thumbnail.jpeg.startswith(b"\xff\xd8")


async def test_a_video_is_changed_in_part(library: LibraryCalls, clip_bytes: bytes) -> None:
    metadata = struct_pb2.Struct()
    metadata.update({"shop": "north", "tags": [1, 2]})
    video = await library.add(clip_bytes, metadata=metadata)
    assert video.metadata == metadata
    request = pb.UpdateVideoRequest(video_id=video.video_id, display_name="Door")
    changed = (await library.videos.UpdateVideo(request)).video
    assert (changed.display_name, changed.metadata) == ("Door", metadata)
    request = pb.UpdateVideoRequest(video_id=video.video_id, metadata=struct_pb2.Struct())
    changed = (await library.videos.UpdateVideo(request)).video
    assert (changed.display_name, len(changed.metadata.fields)) == ("Door", 0)
    request = pb.UpdateVideoRequest(video_id=video.video_id, display_name="")
    assert (await refused(library.videos.UpdateVideo(request)))[
        0
    ] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_probe_looks_at_every_frame(library: LibraryCalls, clip_bytes: bytes) -> None:
    video = await library.add(clip_bytes)
    answer = await library.videos.ProbeVideo(pb.ProbeVideoRequest(video_id=video.video_id))
    assert answer.facts.frame_count_exact
    assert answer.facts == video.facts


async def test_a_delete_while_somebody_downloads(library: LibraryCalls, clip_bytes: bytes) -> None:
    # A box of nothing at its end makes it a large file.
    padding = 10_000_000
    video = await library.add(
        clip_bytes + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    )
    download = library.videos.DownloadVideo(
        pb.DownloadVideoRequest(video_id=video.video_id, chunk_bytes=65536)
    )
    assert (await download.read()).WhichOneof("message") == "file"
    first = await download.read()
    await library.videos.DeleteVideo(pb.DeleteVideoRequest(video_id=video.video_id))
    assert library.files() == []
    rest = len(first.chunk.data)
    while (reply := await download.read()) is not grpc.aio.EOF:
        rest += len(reply.chunk.data)
    assert rest == video.file.size_bytes
    for call in (
        library.videos.GetVideo(pb.GetVideoRequest(video_id=video.video_id)),
        library.videos.DeleteVideo(pb.DeleteVideoRequest(video_id=video.video_id)),
        library.videos.GetFrame(pb.GetFrameRequest(frame=frame_of(video.video_id, frame_index=0))),
    ):
        assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_library_survives_its_gateway(
    postgres: Postgres, tmp_path: Path, clip_bytes: bytes
) -> None:
    url = postgres.new_database()
    async with library_gateway(url, tmp_path / "data") as library:
        video = await library.add(clip_bytes)
        upload_id = await library.start(clip_bytes)
        await library.send(upload_id, clip_bytes[:1500])
    async with library_gateway(url, tmp_path / "data") as library:
        assert await library.download(video.video_id) == clip_bytes
        upload = await library.send(upload_id, clip_bytes, 1500)
        assert upload.stored_bytes == len(clip_bytes)


async def test_a_gateway_without_a_library_says_so(tmp_path: Path) -> None:
    async with library_gateway("", tmp_path / "data") as bare:
        code, _ = await refused(bare.videos.ListVideos(pb.ListVideosRequest()))
        assert code is grpc.StatusCode.UNIMPLEMENTED
    assert not (tmp_path / "data").exists()
