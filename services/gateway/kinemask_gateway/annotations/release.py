"""What becomes of the sessions on a video that is to be deleted."""

from __future__ import annotations

from kinemask_chassis import errors

from kinemask_gateway.annotations import sessions
from kinemask_gateway.annotations.held import HeldSessions
from kinemask_gateway.library.sql import Connection, many


class SessionRelease:
    """A `ReleaseVideo`: sessions go with their video; open ones only if that is forced."""

    def __init__(self, held: HeldSessions, idle_s: float) -> None:
        """`idle_s`: how long after its last use a session counts as open."""
        self._held = held
        self._idle_s = idle_s

    async def __call__(self, connection: Connection, video_id: str, force: bool) -> None:
        """Raises ServiceError FAILED_PRECONDITION, reason IN_USE."""
        rows = await many(
            connection,
            "SELECT session_id, use_time > now() - make_interval(secs => %s) "
            "OR propagation_until > now() AS open "
            "FROM gateway.sessions WHERE video_id = %s FOR UPDATE",
            (self._idle_s, video_id),
        )
        used = [row["session_id"] for row in rows if row["open"]]
        if used and not force:
            names = ", ".join(used[:10])
            what = f"sessions are open on the video: {names}; force closes them"
            raise errors.failed_precondition(what, reason="IN_USE", sessions=names)
        for row in rows:
            await sessions.remove(connection, row["session_id"])
            self._held.forget(row["session_id"])
