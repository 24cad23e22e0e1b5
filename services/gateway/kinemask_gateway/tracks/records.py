"""Which tracks a job has found, as rows of Postgres. Runs in the caller's transaction."""

from __future__ import annotations

from kinemask_gateway.library.sql import Connection, change, one
from kinemask_gateway.tracks.writer import StoredTracks


async def add(connection: Connection, job_id: str, stored: StoredTracks) -> None:
    """Tracks of a job that succeeds in this transaction (`JobOutcome.on_commit`)."""
    await change(
        connection,
        "INSERT INTO gateway.job_tracks (job_id, manifest_key, sha256) VALUES (%s, %s, %s)",
        *(job_id, stored.manifest_key, stored.manifest.sha256),
    )


async def manifest_key(connection: Connection, job_id: str) -> str | None:
    """Where a job's manifest is; None if it has stored no tracks."""
    row = await one(
        connection, "SELECT manifest_key FROM gateway.job_tracks WHERE job_id = %s", job_id
    )
    return str(row["manifest_key"]) if row else None
