"""Streams of the faces service, for asyncio: thousands of faces to enrol, and names in video."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from kinemask import config
from kinemask.client import _decode as client_decode
from kinemask.client import _encode
from kinemask.client._async_streams import AsyncPendingEdit, AsyncStream, now_us
from kinemask.client._connection import StreamKind
from kinemask.client._stream import StreamContext
from kinemask.faces import _decode, _operations, types
from kinemask.faces._operations import FaceLike
from kinemask.v1 import faces_pb2 as pb

if TYPE_CHECKING:
    from kinemask.types import ImageLike


class AsyncEnrolStream(AsyncStream[types.EnrolAnswer]):
    """FacesService.EnrolStream: faces in, what became of each out, in order.

    A face that is sent again after the stream moved to another server is known again: each carries
    an id.
    """

    def __init__(
        self,
        kind: StreamKind[types.EnrolAnswer],
        context: StreamContext,
        jpeg_quality: int | None,
    ) -> None:
        super().__init__(kind, context)
        self._jpeg_quality = jpeg_quality
        self._sending = asyncio.Lock()

    async def send(
        self,
        person_id: str,
        face: FaceLike,
        *,
        name: str = "",
        source: str = "",
        min_quality: float | None = None,
        allow_duplicate: bool = False,
    ) -> int:
        """Send a face; returns its frame id. Waits while the window is full.

        Args:
            person_id: whose face it is.
            face: a picture's largest face, a face in a picture, or one of an answer with a token.
            name: what to call a person who is made now. Default: the id.
            source: where it comes from, such as a file's name.
            min_quality: refuse a face of a lower quality, 0..1. Default: the service's own.
            allow_duplicate: keep a face that the person has already.

        Raises:
            KinemaskError: the stream is over.
            ValueError: not a picture, or a face of an answer without a token.
        """
        make = partial(
            _operations.samples,
            [face],
            [source],
            self._jpeg_quality,
            min_quality,
            allow_duplicate,
        )
        async with self._sending:  # encoding must not change the order
            [sample] = await asyncio.to_thread(make)
            frame = pb.EnrolFrame(
                person_id=person_id,
                display_name=name,
                sample=sample,
                request_id=_operations.new_id(),
            )
            return await self._core.send(frame, None, 0)


class AsyncRecogniseStream(AsyncStream[types.RecognisedFrame]):
    """FacesService.RecogniseStream: a video's frames in, names voted over time out."""

    def __init__(
        self,
        kind: StreamKind[types.RecognisedFrame],
        context: StreamContext,
        jpeg_quality: int | None,
    ) -> None:
        super().__init__(kind, context)
        self._jpeg_quality = jpeg_quality
        self._sending = asyncio.Lock()

    async def send(
        self,
        image: ImageLike,
        regions: Sequence[types.FaceRegion] = (),
        *,
        frame_id: int | None = None,
        capture_time_us: int | None = None,
    ) -> int:
        """Send a frame; returns its id. Under policy `block` waits while the window is full.

        Args:
            image: `(H, W, 3)` uint8 RGB, encoded bytes, or a path. Arrays are encoded as JPEG.
            regions: where the caller's own tracks are, if the stream was opened for those.
            frame_id: strictly increasing. Default: one more than the last, from 0.
            capture_time_us: since the Unix epoch, or since a stored video's start. Default: now.

        Raises:
            KinemaskError: the stream is over.
            ValueError: not a picture, or an id that does not increase.
        """
        when_us = now_us() if capture_time_us is None else capture_time_us
        async with self._sending:  # encoding must not change the order
            encoded = await asyncio.to_thread(_encode.image, image, self._jpeg_quality)
            frame = pb.RecogniseFrame(image=encoded, regions=map(_region, regions))
            return await self._core.send(frame, frame_id, when_us)

    def correct(
        self, track_id: int, person_id: str, *, is_person: bool = True, frame_id: int | None = None
    ) -> AsyncPendingEdit:
        """A track is a certain person, whose sample it becomes, or is not, which is remembered."""
        identity = pb.TrackIdentity(track_id=track_id, person_id=person_id)
        edit = pb.RecogniseStreamEdit(
            frame_id=frame_id,
            is_person=identity if is_person else None,
            not_person=None if is_person else identity,
        )
        return AsyncPendingEdit(self._core.edit(edit))

    def end_tracks(
        self, track_ids: Sequence[int], *, frame_id: int | None = None
    ) -> AsyncPendingEdit:
        """End tracks; their votes are forgotten."""
        ends = pb.TrackEnds(track_ids=track_ids)
        return AsyncPendingEdit(
            self._core.edit(pb.RecogniseStreamEdit(frame_id=frame_id, end_tracks=ends))
        )


def enrol_kind(
    wanted: pb.EnrolStreamConfig, options: config.StreamOptions, request_id: str
) -> StreamKind[types.EnrolAnswer]:
    """EnrolStream."""

    def with_token(token: bytes) -> Message:
        wanted.stream.CopyFrom(_encode.stream_options(options, token))
        return wanted

    return StreamKind(
        name="enrol stream",
        request=pb.EnrolStreamRequest,
        config=with_token,
        info=_info,
        result=lambda message: _decode.enrol_answer(message, request_id),
        failed=types.EnrolAnswer,
    )


def recognise_kind(
    wanted: pb.RecogniseStreamConfig, options: config.StreamOptions, request_id: str
) -> StreamKind[types.RecognisedFrame]:
    """RecogniseStream."""

    def with_token(token: bytes) -> Message:
        wanted.stream.CopyFrom(_encode.stream_options(options, token))
        return wanted

    return StreamKind(
        name="recognise stream",
        request=pb.RecogniseStreamRequest,
        config=with_token,
        info=_info,
        result=lambda message: _decode.recognised_frame(message, request_id),
        failed=types.RecognisedFrame,
        # With the gallery, an edit's id is what a repeat is known by, over all streams.
        first_edit_id=secrets.randbits(62) | 1,
    )


def recognise_config(
    options: pb.RecogniseOptions, votes: config.FaceVotes | None, own_tracks: bool, budget_ms: int
) -> pb.RecogniseStreamConfig:
    """A stream's config but for what all streams have."""
    tracking = pb.FACE_TRACKING_CLIENT if own_tracks else pb.FACE_TRACKING_SERVICE
    return pb.RecogniseStreamConfig(
        options=options,
        votes=None if votes is None else _encode.face_votes(votes),
        tracking=tracking,
        budget_ms=budget_ms,
    )


def _info(started: pb.EnrolStreamStarted | pb.RecogniseStreamStarted) -> config.StreamInfo:
    return client_decode.stream_info(started.terms)


def _region(region: types.FaceRegion) -> pb.FaceRegion:
    kind = pb.REGION_KIND_PERSON if region.is_person else pb.REGION_KIND_FACE
    return pb.FaceRegion(track_id=region.track_id, box=_operations.box(region.box), kind=kind)
