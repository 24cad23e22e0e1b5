"""The library of stored videos."""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message

from kinemask.client._calls import ResultT
from kinemask.errors import KinemaskError, NotFoundError
from kinemask.stored import _decode
from kinemask.stored._calls import Calls
from kinemask.stored._transfer import OnBytes, chunks_of, download, file_sha256, until_done
from kinemask.stored.types import StoredFrame, StoredVideo, VideoFacts
from kinemask.v1 import videos_pb2 as pb
from kinemask.v1.videos_pb2_grpc import VideoServiceStub

# The file is composed, decoded and looked into while a client waits.
_FINISH_WITHIN_S = 3600.0


class Videos:
    """Puts videos into the library and takes them out; `client.videos`.

    Every method raises KinemaskError. What changes something may be repeated: each call carries an
    id by which the gateway knows it again.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def upload(
        self,
        path: str | Path,
        *,
        name: str = "",
        metadata: Mapping[str, object] | None = None,
        salvage: bool = False,
        on_bytes: OnBytes | None = None,
    ) -> StoredVideo:
        """Store a file.

        Called again for the same file within a day, it goes on where it broke off, whatever ended
        it. A connection that breaks is waited for.

        Args:
            path: the file.
            name: what to call the video. Default: the file's name.
            metadata: whatever is to be kept with it; JSON values.
            salvage: take what can be decoded of a damaged file, in place of refusing it.
            on_bytes: called with bytes sent and bytes in all.

        Raises:
            OSError: the file cannot be read.
        """
        path = Path(path)
        request = pb.StartUploadRequest(
            file_name=path.name,
            size_bytes=path.stat().st_size,
            sha256=file_sha256(path),
            display_name=name,
            metadata=_struct(metadata),
        )
        upload = self._begun(request)
        self._send(path, upload, on_bytes)
        policy = pb.DAMAGE_POLICY_SALVAGE if salvage else pb.DAMAGE_POLICY_REFUSE
        finish = pb.FinishUploadRequest(
            upload_id=upload.upload_id, damage_policy=policy, request_id=uuid.uuid4().hex
        )
        done: list[StoredVideo] = []

        def step() -> int | None:
            # Its request id makes a repeat safe, also if only the answer was lost.
            done[:] = [self._single("FinishUpload", finish, _video, _FINISH_WITHIN_S)]
            return None

        until_done(step)
        return done[0]

    def get(self, video_id: str) -> StoredVideo:
        """One video."""
        request = pb.GetVideoRequest(video_id=video_id)
        return self._single("GetVideo", request, _video)

    def find(self, path: str | Path) -> StoredVideo | None:
        """The newest video that was uploaded from a file of the same bytes; None: there is none.

        Raises:
            OSError: the file cannot be read.
        """
        return next(self.list(sha256=file_sha256(Path(path))), None)

    def list(
        self, *, name_contains: str = "", sha256: str = "", include_renders: bool = False
    ) -> Iterator[StoredVideo]:
        """The videos, newest first, fetched a page at a time."""
        request = pb.ListVideosRequest(
            name_contains=name_contains, sha256=sha256, include_renders=include_renders
        )
        while True:
            page = self._single("ListVideos", request, lambda answer: answer)
            yield from map(_decode.video, page.videos)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def update(
        self,
        video_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> StoredVideo:
        """Change a video's name or replace its metadata; None leaves it."""
        request = pb.UpdateVideoRequest(video_id=video_id, request_id=uuid.uuid4().hex)
        if name is not None:
            request.display_name = name
        if metadata is not None:
            request.metadata.CopyFrom(_struct(metadata))
        return self._single("UpdateVideo", request, _video)

    def delete(self, video_id: str, *, force: bool = False) -> None:
        """Remove a video for good; `force` cancels the jobs that use it."""
        request = pb.DeleteVideoRequest(video_id=video_id, force=force, request_id=uuid.uuid4().hex)
        self._single("DeleteVideo", request, lambda answer: None)

    def probe(self, video_id: str) -> VideoFacts:
        """Decode a video from end to end and say what is in it."""
        request = pb.ProbeVideoRequest(video_id=video_id)
        return self._single(
            "ProbeVideo", request, lambda answer: _decode.facts(answer.facts), _FINISH_WITHIN_S
        )

    def frame(
        self,
        video_id: str,
        *,
        index: int | None = None,
        time_s: float | None = None,
        seed: int | None = None,
        max_side_px: int = 0,
    ) -> StoredFrame:
        """One frame, without loss: by index, by time from the first frame, or any.

        Args:
            seed: picks the same random frame again.
            max_side_px: make it smaller until no side is longer. Default 0: as it is.

        Raises:
            ValueError: more than one of index, time_s and seed.
        """
        if sum(given is not None for given in (index, time_s, seed)) > 1:
            raise ValueError("expected one of index, time_s and seed, found several")
        chosen = pb.FrameSelector(random=pb.RandomFrame(seed=seed))
        if index is not None:
            chosen = pb.FrameSelector(frame_index=index)
        elif time_s is not None:
            chosen = pb.FrameSelector(time_us=round(time_s * 1e6))
        request = pb.GetFrameRequest(
            frame=pb.VideoFrame(video_id=video_id, frame=chosen),
            format=pb.PICTURE_FORMAT_PNG,
            max_side_px=max_side_px,
        )
        return self._single("GetFrame", request, _decode.frame)

    def thumbnail(self, video_id: str, max_side_px: int = 0) -> bytes:
        """A small JPEG; 320 pixels unless told otherwise."""
        request = pb.GetThumbnailRequest(video_id=video_id, max_side_px=max_side_px)
        return self._single("GetThumbnail", request, lambda answer: bytes(answer.jpeg))

    def download(self, video_id: str, path: str | Path, *, on_bytes: OnBytes | None = None) -> None:
        """Fetch a video's file; interrupted, the next call goes on where it broke off.

        Raises:
            OSError: it cannot be written.
        """

        def ask(offset: int) -> Iterator[Any]:
            request = pb.DownloadVideoRequest(video_id=video_id, offset=offset)
            return self._calls.stream(VideoServiceStub, "DownloadVideo", request)

        download(Path(path), ask, on_bytes)

    def _begun(self, request: pb.StartUploadRequest) -> pb.Upload:
        """A new upload, or the one that was begun for the same file and broke off."""
        content = request.SerializeToString(deterministic=True)
        request.request_id = f"upload-{hashlib.sha256(content).hexdigest()}"
        started = self._single("StartUpload", request, _upload)
        ask = pb.GetUploadRequest(upload_id=started.upload_id)
        try:
            return self._single("GetUpload", ask, _upload)
        except NotFoundError:  # that one was finished, cancelled, or has lapsed
            request.request_id = uuid.uuid4().hex
            return self._single("StartUpload", request, _upload)

    def _send(self, path: Path, upload: pb.Upload, on_bytes: OnBytes | None) -> None:
        total = upload.size_bytes
        stored = upload.stored_bytes

        def step() -> int | None:
            nonlocal stored
            if stored >= total:
                return None
            try:
                requests = _messages(path, upload.upload_id, stored, on_bytes, total)
                answer = self._calls.send(VideoServiceStub, "UploadChunks", requests)
                stored = int(answer.upload.stored_bytes)
            except KinemaskError:
                ask = pb.GetUploadRequest(upload_id=upload.upload_id)
                now = self._single("GetUpload", ask, _upload)
                if now.stored_bytes <= stored:
                    raise
                stored = now.stored_bytes
            return stored

        until_done(step)

    def _single(
        self,
        method: str,
        request: Message,
        decode: Callable[[Any], ResultT],
        timeout_s: float | None = None,
    ) -> ResultT:
        return self._calls.single(VideoServiceStub, method, request, decode, timeout_s)


def _messages(
    path: Path, upload_id: str, offset: int, on_bytes: OnBytes | None, total: int
) -> Iterator[Message]:
    yield pb.UploadChunksRequest(start=pb.UploadStart(upload_id=upload_id))
    for at, data in chunks_of(path, offset, on_bytes, total):
        chunk = pb.FileChunk(offset=at, data=data, crc32=zlib.crc32(data))
        yield pb.UploadChunksRequest(chunk=chunk)


def _video(answer: Any) -> StoredVideo:
    return _decode.video(answer.video)


def _upload(answer: Any) -> pb.Upload:
    found: pb.Upload = answer.upload
    return found


def _struct(metadata: Mapping[str, object] | None) -> struct_pb2.Struct:
    return json_format.Parse(json.dumps(dict(metadata or {})), struct_pb2.Struct())
