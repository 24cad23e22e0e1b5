"""Videos as rows of Postgres. Every function runs in the caller's transaction."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from kinemask_chassis import errors
from psycopg.rows import DictRow

from kinemask_gateway.library.facts import AudioTrack, DamagedSpan, FileFacts, Video, VideoFacts
from kinemask_gateway.library.sql import Connection, change, many, one


@dataclass(frozen=True)
class VideoFilter:
    """Which videos a list is of."""

    name_contains: str = ""
    sha256: str = ""
    include_renders: bool = False
    owner_id: str = ""


async def add(connection: Connection, video: Video, thumbnail_frame_index: int) -> None:
    """Put a video into the library; its creation time is the database's."""
    await change(
        connection,
        "INSERT INTO gateway.videos (video_id, display_name, metadata, file_name, media_type, "
        "size_bytes, sha256, facts, thumbnail_frame_index, source_job_id, owner_id, create_time) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        video.video_id,
        video.display_name,
        video.metadata_json,
        video.file.file_name,
        video.file.media_type,
        video.file.size_bytes,
        video.file.sha256,
        facts_to_json(video.facts),
        thumbnail_frame_index,
        video.source_job_id,
        video.owner_id,
        video.create_time,
    )


async def get(connection: Connection, video_id: str, *, lock: bool = False) -> Video:
    """One video; `lock` keeps others from changing it until the transaction ends.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = await one(
        connection,
        "SELECT * FROM gateway.videos WHERE video_id = %s" + (" FOR UPDATE" if lock else ""),
        video_id,
    )
    if row is None:
        raise no_video(video_id)
    return _video(row)


async def thumbnail_frame(connection: Connection, video_id: str) -> int:
    """The frame that a video's thumbnail is of."""
    row = await one(
        connection,
        "SELECT thumbnail_frame_index FROM gateway.videos WHERE video_id = %s",
        video_id,
    )
    if row is None:
        raise no_video(video_id)
    return int(row["thumbnail_frame_index"])


async def page(
    connection: Connection, wanted: VideoFilter, before: int | None, size: int
) -> list[tuple[int, Video]]:
    """Positions and videos, newest first."""
    rows = await many(
        connection,
        "SELECT * FROM gateway.videos WHERE owner_id = %(owner_id)s "
        "AND (%(name)s = '' OR position(lower(%(name)s) IN lower(display_name)) > 0) "
        "AND (%(sha256)s = '' OR sha256 = %(sha256)s) "
        "AND (%(renders)s OR source_job_id = '') "
        'AND (%(before)s::bigint IS NULL OR "position" < %(before)s) '
        'ORDER BY "position" DESC LIMIT %(size)s',
        {
            "owner_id": wanted.owner_id,
            "name": wanted.name_contains,
            "sha256": wanted.sha256,
            "renders": wanted.include_renders,
            "before": before,
            "size": size,
        },
    )
    return [(int(row["position"]), _video(row)) for row in rows]


async def update(
    connection: Connection, video_id: str, display_name: str | None, metadata_json: str | None
) -> Video:
    """Change what is not None."""
    await change(
        connection,
        "UPDATE gateway.videos SET display_name = COALESCE(%s, display_name), "
        "metadata = COALESCE(%s, metadata) WHERE video_id = %s",
        *(display_name, metadata_json, video_id),
    )
    return await get(connection, video_id)


async def set_facts(connection: Connection, video_id: str, facts: VideoFacts) -> None:
    """Replace what is known of it."""
    await change(
        connection,
        "UPDATE gateway.videos SET facts = %s WHERE video_id = %s",
        *(facts_to_json(facts), video_id),
    )


async def remove(connection: Connection, video_id: str) -> None:
    """Take a video out of the library; its objects stay."""
    await change(connection, "DELETE FROM gateway.videos WHERE video_id = %s", video_id)


def no_video(video_id: str) -> errors.ServiceError:
    """NOT_FOUND."""
    return errors.not_found(f"there is no video {video_id}", video_id=video_id)


def facts_to_json(facts: VideoFacts) -> str:
    """As it is stored."""
    return json.dumps(dataclasses.asdict(facts))


def _video(row: DictRow) -> Video:
    facts = dict(row["facts"])
    facts["audio_tracks"] = tuple(AudioTrack(**entry) for entry in facts["audio_tracks"])
    facts["damage"] = tuple(DamagedSpan(**entry) for entry in facts["damage"])
    return Video(
        video_id=row["video_id"],
        display_name=row["display_name"],
        metadata_json=json.dumps(row["metadata"]),
        file=FileFacts(row["file_name"], row["media_type"], row["size_bytes"], row["sha256"]),
        facts=VideoFacts(**facts),
        source_job_id=row["source_job_id"],
        owner_id=row["owner_id"],
        create_time=row["create_time"],
    )
