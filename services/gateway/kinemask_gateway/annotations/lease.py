"""Who propagates a session, as columns of its row. Every function runs in the caller's transaction.

A propagation holds the session as long as it gives a sign of life now and then: one that was killed
holds it no longer than `LEASE_S`.
"""

from __future__ import annotations

from enum import Enum, auto

from kinemask_chassis import errors

from kinemask_gateway.annotations.records import SessionRecord, no_session
from kinemask_gateway.library.sql import Connection, change, one

LEASE_S = 4.0


class Life(Enum):
    """What a sign of life is answered with."""

    GOES_ON = auto()
    CANCELLED = auto()
    LOST = auto()
    """The session is gone, or another propagation has taken over."""


async def begin(connection: Connection, session: SessionRecord, holder: str) -> int:
    """Take a session that is locked and not propagated; the propagation's id."""
    row = await one(
        connection,
        "UPDATE gateway.sessions SET propagation_id = propagation_id + 1, propagation_by = %s, "
        "propagation_until = now() + make_interval(secs => %s), propagation_cancelled = false, "
        "propagation_done = 0, use_time = now() WHERE session_id = %s RETURNING propagation_id",
        *(holder, LEASE_S, session.session_id),
    )
    if row is None:
        raise no_session(session.session_id)
    return int(row["propagation_id"])


async def live_on(connection: Connection, session_id: str, holder: str, done_frames: int) -> Life:
    """Give a sign of life."""
    row = await one(
        connection,
        "UPDATE gateway.sessions SET propagation_until = now() + make_interval(secs => %s), "
        "propagation_done = %s, use_time = now() WHERE session_id = %s AND propagation_by = %s "
        "RETURNING propagation_cancelled",
        *(LEASE_S, done_frames, session_id, holder),
    )
    if row is None:
        return Life.LOST
    return Life.CANCELLED if row["propagation_cancelled"] else Life.GOES_ON


async def end(connection: Connection, session_id: str, holder: str, done_frames: int) -> None:
    """Let a session go; nothing happens if it is another's."""
    await change(
        connection,
        "UPDATE gateway.sessions SET propagation_by = '', propagation_until = 'epoch', "
        "propagation_done = %s WHERE session_id = %s AND propagation_by = %s",
        *(done_frames, session_id, holder),
    )


async def cancel(connection: Connection, session: SessionRecord, propagation_id: int) -> int:
    """Ask the propagation of a session that is locked to stop; its id.

    Raises:
        ServiceError: FAILED_PRECONDITION: it does not run.
    """
    wanted = propagation_id or session.propagation_id
    if not session.propagating or wanted != session.propagation_id:
        what = f"propagation {wanted}" if wanted else "a propagation"
        raise errors.failed_precondition(f"{what} does not run", reason="NOT_PROPAGATING")
    await change(
        connection,
        "UPDATE gateway.sessions SET propagation_cancelled = true WHERE session_id = %s",
        session.session_id,
    )
    return wanted


async def is_holder(connection: Connection, session_id: str, holder: str) -> bool:
    """Whether a session is still this propagation's; locks it until the transaction ends."""
    row = await one(
        connection,
        "SELECT propagation_by FROM gateway.sessions WHERE session_id = %s FOR UPDATE",
        session_id,
    )
    return row is not None and row["propagation_by"] == holder
