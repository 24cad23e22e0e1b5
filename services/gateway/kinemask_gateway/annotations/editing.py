"""Changes of a session: drawn up from what is stored, then put in force all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from google.protobuf.message import Message
from kinemask_chassis import errors

from kinemask_gateway.annotations import prompt_records, records
from kinemask_gateway.annotations.held import HeldSession, HeldSessions
from kinemask_gateway.annotations.masks import Entries, MaskStore
from kinemask_gateway.annotations.records import ObjectRecord, SessionRecord
from kinemask_gateway.annotations.spans import Span, contains, minus, touched_by, union
from kinemask_gateway.library import answers
from kinemask_gateway.library.sql import Connection, Connects
from kinemask_gateway.tracks.values import TrackedObject

AnswerT = TypeVar("AnswerT", bound=Message)

_TRIES = 3
_SETTLE_S = 3.0
Write = Callable[[Connection], Awaitable[None]]


@dataclass
class Draft:
    """A session as it is, and what is to become of it."""

    held: HeldSession
    session: SessionRecord
    objects: dict[int, ObjectRecord]
    prompted: dict[int, list[int]]
    """Each object's prompted frames, ascending."""
    changes: dict[int, dict[int, TrackedObject | None]] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    """Rows to be written; objects' rows are written first."""
    new_objects: int = 0
    new_prompts: int = 0
    changed: set[int] = field(default_factory=set)
    """Objects whose rows are to be written."""

    def put(self, frame_index: int, object_id: int, entry: TrackedObject | None) -> None:
        """A mask, or None to forget it."""
        self.changes.setdefault(frame_index, {})[object_id] = entry

    def update(self, entry: ObjectRecord) -> None:
        """A new object, or one that is different now."""
        self.objects[entry.object_id] = entry
        self.changed.add(entry.object_id)

    def prompt_on(self, object_id: int, frame_index: int) -> None:
        """An object is prompted on a frame: what comes of it is older than that."""
        frames = self.prompted.setdefault(object_id, [])
        if frame_index not in frames:
            frames.append(frame_index)
            frames.sort()
        self._touch(object_id, frame_index)

    def prompt_off(self, object_id: int, frame_index: int) -> None:
        """It is prompted there no more."""
        frames = self.prompted.get(object_id, [])
        if frame_index in frames:
            frames.remove(frame_index)
        self._touch(object_id, frame_index)

    def with_changes(self, frame_index: int, entries: Entries) -> Entries:
        """What will be known on a frame that `entries` are known of now."""
        whole = {**entries, **self.changes.get(frame_index, {})}
        return {key: entry for key, entry in sorted(whole.items()) if entry is not None}

    def is_stale(self, frame_index: int) -> bool:
        """Whether any object's mask there is older than its prompts."""
        return any(contains(entry.stale, frame_index) for entry in self.objects.values())

    def _touch(self, object_id: int, frame_index: int) -> None:
        known, prompted = self.objects[object_id], self.prompted.get(object_id, [])
        last = self.session.last_frame
        touched = touched_by(frame_index, prompted, last, imported=known.imported)
        stale = union(known.stale, touched) if prompted or known.imported else ()
        here: list[Span] = [(frame, frame) for frame in prompted]
        self.update(replace(known, stale=minus(stale, here)))


class Editor:
    """Applies drafts: one at a time to each session, each whole or not at all."""

    def __init__(self, database: Connects, held: HeldSessions, masks: MaskStore) -> None:
        self._database = database
        self._held = held
        self._masks = masks

    async def apply(
        self,
        request: Any,
        answer_type: type[AnswerT],
        work: Callable[[Draft], Awaitable[Callable[[int], AnswerT]]],
    ) -> AnswerT:
        """The answer of `work`, given the session's revision after it; or that of before.

        `work` may be called again, where another gateway was quicker.

        Raises:
            ServiceError: NOT_FOUND, FAILED_PRECONDITION (PROPAGATION_RUNNING), ABORTED, or what
                `work` raises.
        """
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, answer_type):
                return found
            await records.get(connection, request.session_id)
        held = self._held.wake(request.session_id)
        async with held.lock:
            await held.settled(_SETTLE_S)
            for _ in range(_TRIES):
                draft = await self._draft(held)
                answer = await work(draft)
                try:
                    return await self._commit(request, answer_type, draft, answer)
                except _OvertakenError:
                    continue
        what = "another gateway changes the session all the time; try again"
        raise errors.aborted(what, reason="SESSION_BUSY")

    async def _draft(self, held: HeldSession) -> Draft:
        async with self._database.connection() as connection:
            session = await records.get(connection, held.session_id)
            records.check_still(session)
            objects = await records.objects(connection, held.session_id)
            prompted = await prompt_records.frames_of(connection, held.session_id)
        return Draft(held, session, objects, prompted)

    async def _commit(
        self,
        request: Any,
        answer_type: type[AnswerT],
        draft: Draft,
        answer: Callable[[int], AnswerT],
    ) -> AnswerT:
        session_id = draft.session.session_id
        made = await self._masks.write(session_id, draft.changes) if draft.changes else []
        kept = False
        try:
            async with self._database.connection() as connection:
                if found := await answers.recall(connection, request, answer_type):
                    return found
                session = await records.get(connection, session_id, lock=True)
                records.check_still(session)
                if session.revision != draft.session.revision:
                    raise _OvertakenError
                for object_id in sorted(draft.changed & draft.objects.keys()):
                    await records.put_object(connection, session_id, draft.objects[object_id])
                for write in draft.writes:
                    await write(connection)
                await self._masks.keep(connection, session_id, made)
                revision = await records.changed(
                    connection, session, ids=draft.new_objects, prompts=draft.new_prompts
                )
                told = answer(revision)
                await answers.remember(connection, request, told)
            kept = True
        finally:
            await self._masks.tidy(made, kept=kept)
        return told


class _OvertakenError(Exception):
    """The session is not any more what the draft was drawn up from."""
