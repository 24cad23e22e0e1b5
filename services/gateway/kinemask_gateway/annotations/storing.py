"""What a propagation finds, put in force a batch at a time."""

from __future__ import annotations

import time
from dataclasses import replace

from kinemask_chassis import errors

from kinemask_gateway.annotations import lease, records, saying
from kinemask_gateway.annotations.records import SessionRecord
from kinemask_gateway.annotations.spans import minus, of_frames
from kinemask_gateway.annotations.tools import Tools
from kinemask_gateway.annotations.walk import Walked
from kinemask_gateway.tracks.values import TrackedObject

_STORE_EVERY_S = 0.4
_MOST_UNSTORED = 64


class Storing:
    """Holds what was walked until it is due to be stored.

    Invariant: masks are put in force by the session's holder alone, as a whole batch or not at all.
    """

    def __init__(self, tools: Tools, session: SessionRecord, holder: str) -> None:
        self._tools = tools
        self._session = session
        self._holder = holder
        self._pending: list[Walked] = []
        self._pending_s = 0.0

    def take(self, walked: Walked) -> None:
        """Note what a step has found, if that was wanted."""
        if not self._pending:
            self._pending_s = time.monotonic()
        if walked.step.wanted:
            self._pending.append(walked)

    def until_due_s(self) -> float | None:
        """Seconds until what is found is to be stored; None while there is nothing."""
        if not self._pending:
            return None
        if len(self._pending) >= _MOST_UNSTORED:
            return 0.0
        return max(self._pending_s + _STORE_EVERY_S - time.monotonic(), 0.0)

    async def store(self) -> list[Walked]:
        """Put what was found in force; what that was.

        Raises:
            ServiceError: ABORTED, reason PROPAGATION_LOST: the session is another's; or it cannot
                be stored.
        """
        walked, self._pending = self._pending, []
        changes = {one.step.frame_index: entries(one) for one in walked if one.result is not None}
        if changes:
            await self._in_force(changes)
        return walked

    async def _in_force(self, changes: dict[int, dict[int, TrackedObject]]) -> None:
        tools, session_id = self._tools, self._session.session_id
        made = await tools.masks.write(session_id, changes)
        kept = False
        try:
            async with tools.database.connection() as connection:
                if not await lease.is_holder(connection, session_id, self._holder):
                    raise lost()
                known = await records.objects(connection, session_id)
                for object_id, entry in known.items():
                    made_on = (f for f, found in changes.items() if object_id in found)
                    stale = minus(entry.stale, of_frames(made_on))
                    if stale != entry.stale:
                        fresh = replace(entry, stale=stale)
                        await records.put_object(connection, session_id, fresh)
                await tools.masks.keep(connection, session_id, made)
                await records.changed(connection, self._session, ids=0, prompts=0)
            kept = True
        finally:
            await tools.masks.tidy(made, kept=kept)


def entries(walked: Walked) -> dict[int, TrackedObject]:
    """The masks that are to be kept of a step, by object id."""
    result = walked.result
    found = {entry.object_id: entry for entry in result.objects} if result is not None else {}
    step, kept = walked.step, {}
    for object_id in sorted(step.wanted):
        entry = None if object_id in step.absent else found.get(object_id)
        kept[object_id] = (
            saying.absent(object_id) if entry is None else saying.entry_of_message(object_id, entry)
        )
    return kept


def lost() -> errors.ServiceError:
    """What a propagation ends with whose session is not its own any more."""
    what = "the session was deleted, or another gateway has taken it over"
    return errors.aborted(what, reason="PROPAGATION_LOST")
