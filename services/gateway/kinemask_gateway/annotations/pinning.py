"""A session's masks as tracks: those it had when a job on it began, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kinemask.v1 import jobs_pb2 as pb
from kinemask.v1 import live_pb2, media_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import records
from kinemask_gateway.annotations.masks import ChunkRow, Entries, MaskStore, chunk_rows, first_of
from kinemask_gateway.annotations.records import ObjectRecord, SessionRecord
from kinemask_gateway.jobs.body import JobContext
from kinemask_gateway.library.sql import Connection, change, one
from kinemask_gateway.storage import ObjectMissingError
from kinemask_gateway.tracks.reader import TracksDamagedError, TracksReader
from kinemask_gateway.tracks.values import TrackedFrame, TrackedObject
from kinemask_gateway.tracks.writer import StoredTracks, TracksWriter

_TRIES = 5


@dataclass(frozen=True)
class Pinned:
    """What a job on a session works with."""

    reader: TracksReader
    revision: int
    """The session's."""
    found: pb.TrackJobResult
    """Stages and frames at risk."""


@dataclass(frozen=True)
class _View:
    """A session at one revision."""

    session: SessionRecord
    objects: Mapping[int, ObjectRecord]
    rows: Mapping[int, ChunkRow]


async def pinned(context: JobContext, session_id: str) -> Pinned:
    """The tracks that every attempt at the job works with; the first one that comes copies them.

    Raises:
        ServiceError: NOT_FOUND, DATA_LOSS, or the store is full or away.
    """
    kept = await _kept(context)
    if kept is not None:
        return kept
    for _ in range(_TRIES):
        view = await _view(context, session_id)
        try:
            stored = await _copied(context, view)
        except ObjectMissingError:
            continue  # the session was changed meanwhile
        async with context.library.database.connection() as connection:
            await _keep(connection, context.job_id, stored, view)
        if (kept := await _kept(context)) is not None:
            return kept
    raise errors.aborted("the session changes all the time; try again", reason="SESSION_BUSY")


async def _kept(context: JobContext) -> Pinned | None:
    async with context.library.database.connection() as connection:
        row = await one(
            connection,
            "SELECT manifest_key, session_revision, found FROM gateway.job_tracks "
            "WHERE job_id = %s",
            context.job_id,
        )
    if row is None:
        return None
    try:
        reader = await TracksReader.open(context.store, row["manifest_key"])
    except TracksDamagedError as error:
        raise errors.data_loss(str(error), reason="TRACKS_DAMAGED") from error
    return Pinned(
        reader, row["session_revision"], pb.TrackJobResult.FromString(bytes(row["found"]))
    )


async def _keep(connection: Connection, job_id: str, stored: StoredTracks, view: _View) -> None:
    """The first attempt's count, also where two were at it."""
    await change(
        connection,
        "INSERT INTO gateway.job_tracks (job_id, manifest_key, sha256, session_revision, found) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (job_id) DO NOTHING",
        job_id,
        stored.manifest_key,
        stored.manifest.sha256,
        view.session.revision,
        _found(view).SerializeToString(),
    )


async def _view(context: JobContext, session_id: str) -> _View:
    async with context.library.database.connection() as connection:
        session = await records.get(connection, session_id, lock=True)
        objects = await records.objects(connection, session_id)
        return _View(session, objects, await chunk_rows(connection, session_id))


async def _copied(context: JobContext, view: _View) -> StoredTracks:
    """Every frame of the video, also those without masks."""
    session = view.session
    masks = MaskStore(context.library.database, context.store)
    writer = TracksWriter(
        context.store,
        lambda name: context.key(f"{session.revision}/{name}"),
        session.size,
        prefix="session",
    )
    async with context.library.open(session.video_id) as stored:
        for number in range(session.frame_count):
            row = view.rows.get(first_of(number))
            entries = (await masks.read(row)).get(number, {}) if row is not None else {}
            objects = _named(entries, view.objects)
            await writer.add(TrackedFrame(number, stored.index.time_us(number), objects))
    return await writer.finish()


def _named(entries: Entries, objects: Mapping[int, ObjectRecord]) -> tuple[TrackedObject, ...]:
    """What is on a frame, called as the session calls it."""
    return tuple(
        replace(entry, label=objects[key].label, prompt=objects[key].words)
        for key, entry in sorted(entries.items())
        if key in objects and entry.present
    )


def _found(view: _View) -> pb.TrackJobResult:
    service = media_pb2.ServiceInfo(service="segmenter", model=view.session.options.model)
    stage = live_pb2.StageService(stage=live_pb2.STAGE_SEGMENT, service=service)
    risks = [
        pb.FramesAtRisk(
            first_frame_index=first,
            last_frame_index=last,
            object_id=object_id,
            reason=pb.RISK_REASON_GAP_OPEN,
            message="its mask is missing, or older than its prompts: nobody propagated to here",
        )
        for object_id, entry in view.objects.items()
        for first, last in entry.stale
    ]
    return pb.TrackJobResult(stages=[stage], at_risk=risks)
