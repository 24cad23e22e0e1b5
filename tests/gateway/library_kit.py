"""A gateway with a library: a real database, a folder of objects, and calls on it."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from kinemask.v1 import jobs_pb2_grpc, videos_pb2_grpc
from kinemask.v1 import videos_pb2 as pb
from kinemask_chassis.server import running
from kinemask_gateway.library.parts import StoredParts
from kinemask_gateway.service import GatewayService
from kinemask_gateway.settings import GatewaySettings

from tests.client.test_video import Source, make_video

CHUNK = 300_000


class LibraryCalls:
    """Stubs on one running gateway."""

    def __init__(self, service: GatewayService, address: str, data_dir: Path) -> None:
        self.service = service
        self.address = address
        self.data_dir = data_dir
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        # The stubs' attributes are made at run time, and differ between sync and aio.
        self.videos: Any = videos_pb2_grpc.VideoServiceStub(self.channel)
        self.jobs: Any = jobs_pb2_grpc.JobServiceStub(self.channel)

    @property
    def stored(self) -> StoredParts:
        assert self.service.stored is not None
        return self.service.stored

    def files(self) -> list[Path]:
        """Every object there is, as files."""
        objects = self.data_dir / "objects"
        return sorted(p.relative_to(objects) for p in objects.rglob("*") if p.is_file())

    async def start(self, content: bytes, name: str = "clip.mp4", **fields: Any) -> str:
        request = pb.StartUploadRequest(file_name=name, size_bytes=len(content), **fields)
        answer = await self.videos.StartUpload(request)
        return str(answer.upload.upload_id)

    async def send(self, upload_id: str, content: bytes, offset: int = 0) -> pb.Upload:
        # A call that the server ends while its client writes is INTERNAL to grpc's asyncio client,
        # whatever the server said; the ordinary one tells what it was.
        def sent() -> pb.Upload:
            with grpc.insecure_channel(self.address) as channel:
                stub = videos_pb2_grpc.VideoServiceStub(channel)
                return stub.UploadChunks(chunk_messages(upload_id, content, offset)).upload

        return await asyncio.to_thread(sent)

    async def add(self, content: bytes, name: str = "clip.mp4", **fields: Any) -> pb.Video:
        """Upload a video whole."""
        upload_id = await self.start(content, name, **fields)
        await self.send(upload_id, content)
        finished = await self.videos.FinishUpload(pb.FinishUploadRequest(upload_id=upload_id))
        return finished.video  # type: ignore[no-any-return]  # the stub has no types

    async def download(self, video_id: str, **fields: Any) -> bytes:
        request = pb.DownloadVideoRequest(video_id=video_id, **fields)
        replies = [reply async for reply in self.videos.DownloadVideo(request)]
        assert replies[0].WhichOneof("message") == "file"
        return joined([reply.chunk for reply in replies[1:]], fields.get("offset", 0))


def joined(chunks: Sequence[pb.FileChunk], offset: int = 0) -> bytes:
    """The bytes, each chunk where the one before ended."""
    for chunk in chunks:
        assert chunk.offset == offset
        assert chunk.crc32 == zlib.crc32(chunk.data)
        offset += len(chunk.data)
    return b"".join(chunk.data for chunk in chunks)


def chunk_messages(
    upload_id: str, content: bytes, offset: int = 0
) -> Iterator[pb.UploadChunksRequest]:
    """The messages that send `content` from `offset` on."""
    yield pb.UploadChunksRequest(start=pb.UploadStart(upload_id=upload_id))
    for at in range(offset, len(content), CHUNK):
        data = content[at : at + CHUNK]
        chunk = pb.FileChunk(offset=at, data=data, crc32=zlib.crc32(data))
        yield pb.UploadChunksRequest(chunk=chunk)


@asynccontextmanager
async def library_gateway(
    database_url: str,
    data_dir: Path,
    *,
    service_class: type[GatewayService] = GatewayService,
    **settings: Any,
) -> AsyncIterator[LibraryCalls]:
    """A gateway that keeps videos in `data_dir`, with no services behind it."""
    nobody = dict.fromkeys(("detector_addresses", "segmenter_addresses", "tracker_addresses"), "")
    chosen = {"port": 0, "database_url": database_url, "data_dir": data_dir, **nobody, **settings}
    service = service_class(GatewaySettings(**chosen))
    async with running(service) as server:
        calls = LibraryCalls(service, server.address, data_dir)
        try:
            yield calls
        finally:
            await calls.channel.close()


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Return once `holds` does; TimeoutError if it does not in time."""
    async with asyncio.timeout(within_s):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def clip(folder: Path, frames: int = 30, **source: Any) -> bytes:
    """A small video."""
    path = make_video(folder / "made.mp4", Source(pts=range(frames), **source))
    content = path.read_bytes()
    path.unlink()
    return content
