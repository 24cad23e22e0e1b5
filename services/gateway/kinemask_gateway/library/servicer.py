"""VideoService: messages to plain values and back."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from kinemask.v1 import media_pb2, videos_pb2_grpc
from kinemask.v1 import videos_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.library import answers, pages, records
from kinemask_gateway.library import messages as say
from kinemask_gateway.library.admission import Candidate
from kinemask_gateway.library.deletion import Deletion
from kinemask_gateway.library.library import Library
from kinemask_gateway.library.loose import claim
from kinemask_gateway.library.pictures import packed, smaller_jpeg
from kinemask_gateway.library.selection import selected_frame
from kinemask_gateway.storage import ObjectMissingError, ObjectStore

CHUNK_BYTES = 1024 * 1024
_JPEG_QUALITY = 90
_THUMBNAIL_SIDE_PX = 320


class VideoServicer(videos_pb2_grpc.VideoServiceServicer):
    """Keeps videos and hands them out."""

    def __init__(self, library: Library, deletion: Deletion) -> None:
        self._library = library
        self._database = library.database
        self._deletion = deletion

    async def StartUpload(
        self, request: pb.StartUploadRequest, context: Any
    ) -> pb.StartUploadResponse:
        new = say.new_upload(request)
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.StartUploadResponse):
                return found
            upload = await self._library.uploads.start(connection, new)
            answer = pb.StartUploadResponse(
                upload=say.upload_message(upload), chunk_bytes=CHUNK_BYTES
            )
            await answers.remember(connection, request, answer)
        return answer

    async def UploadChunks(self, request_iterator: Any, context: Any) -> pb.UploadChunksResponse:
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("message") != "start":
            raise errors.invalid("start", "expected the start as first message, got another")
        upload_id = first.start.upload_id
        async with self._library.uploads.sending(upload_id) as sender:
            async for message in request_iterator:
                if message.WhichOneof("message") != "chunk":
                    raise errors.invalid("chunk", "expected a chunk after the start, got another")
                chunk = message.chunk
                crc32 = chunk.crc32 if chunk.HasField("crc32") else None
                await sender.take(chunk.offset, chunk.data, crc32)
        upload = await self._library.uploads.get(upload_id)
        return pb.UploadChunksResponse(upload=say.upload_message(upload))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> pb.GetUploadResponse:
        upload = await self._library.uploads.get(request.upload_id)
        return pb.GetUploadResponse(upload=say.upload_message(upload))

    async def FinishUpload(
        self, request: pb.FinishUploadRequest, context: Any
    ) -> pb.FinishUploadResponse:
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.FinishUploadResponse):
                return found
        candidate = await self._admitted(request)
        answer = pb.FinishUploadResponse(video=say.video_message(candidate.video))
        try:
            async with self._database.connection() as connection:
                loose = await self._library.uploads.discard(connection, request.upload_id)
                await records.add(connection, candidate.video, candidate.thumbnail_frame_index)
                await claim(connection, candidate.prefix)
                await answers.remember(connection, request, answer)
        except errors.ServiceError:
            await self._library.admission.give_up(candidate.video.video_id)
            raise
        await self._deletion.remove_objects(loose)
        return answer

    async def CancelUpload(
        self, request: pb.CancelUploadRequest, context: Any
    ) -> pb.CancelUploadResponse:
        answer = pb.CancelUploadResponse()
        async with self._database.connection() as connection:
            if await answers.recall(connection, request, pb.CancelUploadResponse):
                return answer
            loose = await self._library.uploads.discard(connection, request.upload_id)
            await answers.remember(connection, request, answer)
        await self._deletion.remove_objects(loose)
        return answer

    async def GetVideo(self, request: pb.GetVideoRequest, context: Any) -> pb.GetVideoResponse:
        video = await self._library.get(request.video_id)
        return pb.GetVideoResponse(video=say.video_message(video))

    async def ListVideos(
        self, request: pb.ListVideosRequest, context: Any
    ) -> pb.ListVideosResponse:
        before, size = pages.before(request), pages.page_size(request.page_size)
        wanted = records.VideoFilter(
            name_contains=say.plain_text("name_contains", request.name_contains),
            sha256=say.checksum("sha256", request.sha256),
            include_renders=request.include_renders,
        )
        async with self._database.connection() as connection:
            found = await records.page(connection, wanted, before, size + 1)
        more = pages.token(request, found[size - 1][0]) if len(found) > size else ""
        return pb.ListVideosResponse(
            videos=[say.video_message(video) for _, video in found[:size]], next_page_token=more
        )

    async def UpdateVideo(
        self, request: pb.UpdateVideoRequest, context: Any
    ) -> pb.UpdateVideoResponse:
        name = request.display_name if request.HasField("display_name") else None
        if name is not None and not say.plain_text("display_name", name):
            raise errors.invalid("display_name", "expected a name that is not empty, got none")
        metadata = say.metadata_json(request.metadata) if request.HasField("metadata") else None
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.UpdateVideoResponse):
                return found
            video = await records.update(connection, request.video_id, name, metadata)
            answer = pb.UpdateVideoResponse(video=say.video_message(video))
            await answers.remember(connection, request, answer)
        return answer

    async def DeleteVideo(
        self, request: pb.DeleteVideoRequest, context: Any
    ) -> pb.DeleteVideoResponse:
        answer = pb.DeleteVideoResponse()
        async with self._database.connection() as connection:
            if await answers.recall(connection, request, pb.DeleteVideoResponse):
                return answer
            await self._deletion.delete_video(connection, request.video_id, request.force)
            await answers.remember(connection, request, answer)
        await self._library.remove_objects(request.video_id)
        return answer

    async def ProbeVideo(
        self, request: pb.ProbeVideoRequest, context: Any
    ) -> pb.ProbeVideoResponse:
        facts = await self._library.probe(request.video_id)
        return pb.ProbeVideoResponse(facts=say.facts_message(facts))

    async def GetFrame(self, request: pb.GetFrameRequest, context: Any) -> pb.GetFrameResponse:
        video_id = request.frame.video_id
        number = await selected_frame(self._library, video_id, request.frame.frame)
        frame = await self._library.frame(video_id, number)
        quality = 0
        if request.format != pb.PICTURE_FORMAT_PNG:
            quality = request.jpeg_quality or _JPEG_QUALITY
        picture = await self._library.in_thread(packed, frame.image, request.max_side_px, quality)
        return pb.GetFrameResponse(
            image=media_pb2.Image(encoded=picture.encoded),
            frame_index=number,
            time_us=await self._library.time_us(video_id, number),
            width=picture.width,
            height=picture.height,
        )

    async def GetThumbnail(
        self, request: pb.GetThumbnailRequest, context: Any
    ) -> pb.GetThumbnailResponse:
        video = await self._library.get(request.video_id)
        async with self._database.connection() as connection:
            number = await records.thumbnail_frame(connection, request.video_id)
        try:
            stored = await self._library.store.get(video.keys.thumbnail)
        except ObjectMissingError as error:
            raise records.no_video(request.video_id) from error
        side = request.max_side_px or _THUMBNAIL_SIDE_PX
        picture = await self._library.in_thread(smaller_jpeg, stored, side)
        return pb.GetThumbnailResponse(
            jpeg=picture.encoded, frame_index=number, width=picture.width, height=picture.height
        )

    async def DownloadVideo(
        self, request: pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[pb.DownloadVideoResponse]:
        video = await self._library.get(request.video_id)
        check_offset(request.offset, video.file.size_bytes)
        yield pb.DownloadVideoResponse(file=say.file_message(video.file))
        gone = records.no_video(request.video_id)
        pieces = chunks(self._library.store, video.keys.source, request, gone)
        async with aclosing(pieces):
            async for chunk in pieces:
                yield pb.DownloadVideoResponse(chunk=chunk)

    async def _admitted(self, request: pb.FinishUploadRequest) -> Candidate:
        """The video of a whole upload, not in the library yet; a hopeless upload is discarded."""
        said = say.checksum("sha256", request.sha256)
        salvage = request.damage_policy == pb.DAMAGE_POLICY_SALVAGE
        try:
            async with self._library.uploads.sending(request.upload_id) as sender:
                upload = await self._library.uploads.get(request.upload_id)
                if upload.stored_bytes < upload.size_bytes:
                    raise errors.failed_precondition(
                        f"{upload.stored_bytes} of {upload.size_bytes} bytes are stored; "
                        f"send the others first",
                        reason="UPLOAD_INCOMPLETE",
                    )
                return await self._library.admission.of_upload(
                    upload, sender, said or upload.sha256, salvage=salvage
                )
        except errors.ServiceError as error:
            if error.reason in ("CHECKSUM_MISMATCH", "NOT_A_VIDEO", "NO_VIDEO_TRACK"):
                async with self._database.connection() as connection:
                    loose = await self._library.uploads.discard(connection, request.upload_id)
                await self._deletion.remove_objects(loose)
            raise


def check_offset(offset: int, size: int) -> None:
    """Raises ServiceError OUT_OF_RANGE for an offset beyond the end."""
    if offset > size:
        what = f"expected an offset of at most {size}, got {offset}"
        raise errors.ServiceError(grpc.StatusCode.OUT_OF_RANGE, what, reason="WRONG_OFFSET")


async def chunks(
    store: ObjectStore, key: str, request: Any, gone: errors.ServiceError
) -> AsyncGenerator[pb.FileChunk, None]:
    """The bytes that a request with offset, length and chunk_bytes asks for."""
    offset: int = request.offset
    pieces = store.read(key, offset, request.length or None, request.chunk_bytes or CHUNK_BYTES)
    try:
        async for piece in pieces:
            yield pb.FileChunk(offset=offset, data=piece, crc32=zlib.crc32(piece))
            offset += len(piece)
    except ObjectMissingError:
        raise gone from None
