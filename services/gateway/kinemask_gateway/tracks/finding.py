"""The tracks of a job, for whoever draws, writes or sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from kinemask.v1 import jobs_pb2 as pb
from kinemask_chassis import errors

from kinemask_gateway.jobs import records as jobs
from kinemask_gateway.jobs.body import JobKind, JobState
from kinemask_gateway.library.sql import Connects
from kinemask_gateway.storage import ObjectStore
from kinemask_gateway.tracks import records
from kinemask_gateway.tracks.messages import frame_message
from kinemask_gateway.tracks.reader import TracksDamagedError, TracksReader, only

_FRAMES_AT_A_TIME = 16


async def tracks_of_job(database: Connects, store: ObjectStore, job_id: str) -> TracksReader:
    """What a track job found.

    Raises:
        ServiceError: NOT_FOUND, FAILED_PRECONDITION (not a track job, or it has not succeeded), or
            DATA_LOSS.
    """
    async with database.connection() as connection:
        job = await jobs.get(connection, job_id)
        key = await records.manifest_key(connection, job_id)
    if job.kind is not JobKind.TRACK:
        what = f"{job_id} is a {job.kind.name.lower()} job; only track jobs have tracks"
        raise errors.failed_precondition(what, reason="NOT_A_TRACK_JOB")
    if job.state is not JobState.SUCCEEDED or key is None:
        what = f"the track job is {job.state.name}; it has tracks once it has SUCCEEDED"
        raise errors.failed_precondition(what, reason="TRACK_JOB_NOT_SUCCEEDED")
    try:
        return await TracksReader.open(store, key)
    except TracksDamagedError as error:
        async with database.connection() as connection:
            await jobs.get(connection, job_id)  # NOT_FOUND, if it was deleted meanwhile
        raise errors.data_loss(str(error), reason="TRACKS_DAMAGED") from error


async def frame_messages(
    reader: TracksReader, request: pb.GetTracksRequest
) -> AsyncIterator[pb.GetTracksResponse]:
    """The answers to a request, a few at a time from another thread.

    Raises:
        ServiceError: OUT_OF_RANGE: there is no such frame; INVALID_ARGUMENT; DATA_LOSS.
    """
    first, last = checked_range(reader, request)
    for start in range(first, last + 1, _FRAMES_AT_A_TIME):
        end = min(start + _FRAMES_AT_A_TIME - 1, last)
        for message in await asyncio.to_thread(_messages, reader, request, start, end):
            yield message


def checked_range(reader: TracksReader, request: pb.GetTracksRequest) -> tuple[int, int]:
    """The first and last frame that a request is about; a last one beyond the end is the end."""
    manifest, wanted = reader.manifest, request.range
    first, last = manifest.first_frame_index, manifest.last_frame_index
    if wanted.HasField("last_frame_index"):
        last = min(wanted.last_frame_index, last)
    if wanted.HasField("first_frame_index"):
        first = wanted.first_frame_index
        if wanted.HasField("last_frame_index") and wanted.last_frame_index < first:
            what = f"expected at least the first, {first}, got {wanted.last_frame_index}"
            raise errors.invalid("range.last_frame_index", what)
    if not manifest.first_frame_index <= first <= last:
        what = f"{manifest.first_frame_index} to {manifest.last_frame_index}"
        raise errors.ServiceError(
            grpc.StatusCode.OUT_OF_RANGE,
            f"expected frames from {what}, got {first} to {last}",
            reason="NO_SUCH_FRAME",
        )
    return first, last


def _messages(
    reader: TracksReader, request: pb.GetTracksRequest, first: int, last: int
) -> list[pb.GetTracksResponse]:
    size = (reader.manifest.height, reader.manifest.width)
    wanted = frozenset(request.object_ids)
    try:
        frames = [only(frame, wanted) for frame in reader.frames(first, last)]
    except TracksDamagedError as error:
        raise errors.data_loss(str(error), reason="TRACKS_DAMAGED") from error
    return [frame_message(frame, size, request.mask_encoding) for frame in frames]
