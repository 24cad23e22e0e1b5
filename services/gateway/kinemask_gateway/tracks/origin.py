"""Where the tracks of a render or an export come from: a track job, or an annotation session."""

from __future__ import annotations

from dataclasses import dataclass

from kinemask.v1 import jobs_pb2 as pb

from kinemask_gateway.annotations import records as sessions
from kinemask_gateway.annotations.pinning import pinned
from kinemask_gateway.jobs import records as jobs
from kinemask_gateway.jobs.body import JobContext
from kinemask_gateway.tracks.finding import tracks_of_job
from kinemask_gateway.tracks.reader import TracksReader


@dataclass(frozen=True)
class Origin:
    """Tracks, and what is known of how they were made."""

    reader: TracksReader
    video_id: str
    name: str
    found: pb.TrackJobResult
    """Stages and frames at risk."""
    track: pb.TrackJobSpec | None = None
    """What was looked for; None for a session."""
    session_id: str = ""
    session_revision: int = 0

    def tell(self, record: pb.AuditRecord) -> None:
        """Put it into a record of what was made of them."""
        record.stages.extend(self.found.stages)
        if self.track is not None:
            record.track.CopyFrom(self.track)
        record.session_id, record.session_revision = self.session_id, self.session_revision
        record.tracks_sha256 = self.reader.manifest.sha256


async def origin_of(context: JobContext, source: pb.TrackSource) -> Origin:
    """The tracks that a job is of; a session's are those it had when the job began.

    Raises:
        ServiceError: NOT_FOUND, FAILED_PRECONDITION (the track job has not succeeded), DATA_LOSS.
    """
    database = context.library.database
    if source.WhichOneof("source") == "session_id":
        kept = await pinned(context, source.session_id)
        async with database.connection() as connection:
            session = await sessions.get(connection, source.session_id)
        return Origin(
            kept.reader,
            session.video_id,
            session.display_name,
            kept.found,
            session_id=session.session_id,
            session_revision=kept.revision,
        )
    reader = await tracks_of_job(database, context.store, source.track_job_id)
    async with database.connection() as connection:
        job = await jobs.get(connection, source.track_job_id)
    found = pb.TrackJobResult.FromString(job.result or b"")
    track = pb.TrackJobSpec.FromString(job.spec)
    return Origin(reader, job.video_id, job.display_name, found, track)
