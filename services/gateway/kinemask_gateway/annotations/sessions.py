"""Sessions from their making to their end."""

from __future__ import annotations

import uuid

import grpc
from kinemask.v1 import annotations_pb2 as pb
from kinemask.v1 import media_pb2
from kinemask_chassis import errors

from kinemask_gateway.annotations import messages as say
from kinemask_gateway.annotations import prompt_records, records
from kinemask_gateway.annotations.calls import SegmenterCalls
from kinemask_gateway.annotations.held import HeldSession, HeldSessions
from kinemask_gateway.annotations.importing import Imported, import_tracks
from kinemask_gateway.annotations.masks import MaskStore, chunk_rows, mask_counts
from kinemask_gateway.annotations.records import NewSession, SessionRecord
from kinemask_gateway.annotations.spans import Spans, union
from kinemask_gateway.jobs import records as jobs
from kinemask_gateway.library import answers, loose, pages
from kinemask_gateway.library import records as videos
from kinemask_gateway.library.facts import Video
from kinemask_gateway.library.messages import plain_text
from kinemask_gateway.library.sql import Connection, Connects
from kinemask_gateway.storage import ObjectStore
from kinemask_gateway.tracks.finding import tracks_of_job

_MAX_OBJECTS = 64


class Sessions:
    """Makes, shows, wakes and removes sessions."""

    def __init__(
        self,
        database: Connects,
        store: ObjectStore,
        held: HeldSessions,
        masks: MaskStore,
        calls: SegmenterCalls,
    ) -> None:
        self._database = database
        self._store = store
        self._held = held
        self._masks = masks
        self._calls = calls

    async def create(self, request: pb.CreateSessionRequest) -> pb.CreateSessionResponse:
        """CreateSession; errors as annotations.proto says."""
        plain_text("display_name", request.display_name)
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.CreateSessionResponse):
                return found
            video = await videos.get(connection, request.video_id)
        asked = pb.SessionOptions()
        asked.CopyFrom(request.options)
        asked.max_objects = asked.max_objects or _MAX_OBJECTS
        options, service = await self._calls.check(asked)
        session_id = uuid.uuid4().hex
        imported = await self._imported(request, session_id, video)
        new = NewSession(
            session_id=session_id,
            video_id=video.video_id,
            display_name=request.display_name or video.display_name,
            options=options,
            height=video.facts.height,
            width=video.facts.width,
            frame_count=video.facts.frame_count,
            next_object_id=imported.next_object_id,
        )
        kept = False
        try:
            answer = await self._stored(request, new, imported, service)
            kept = answer.session.session_id == session_id
        finally:
            if not kept:
                await self._masks.tidy(imported.chunks, kept=False)
        return answer

    async def get(self, session_id: str) -> pb.Session:
        """One session, whole."""
        async with self._database.connection() as connection:
            return await self.whole(connection, session_id)

    async def page(self, request: pb.ListSessionsRequest) -> pb.ListSessionsResponse:
        """ListSessions."""
        before, size = pages.before(request), pages.page_size(request.page_size)
        video_id = plain_text("video_id", request.video_id)
        async with self._database.connection() as connection:
            found = await records.page(connection, video_id, before, size + 1)
            stale = await records.stale_of(connection, [s.session_id for s in found])
        more = pages.token(request, found[size - 1].position) if len(found) > size else ""
        told = [self._message(session, stale[session.session_id]) for session in found[:size]]
        return pb.ListSessionsResponse(sessions=told, next_page_token=more)

    async def delete(self, request: pb.DeleteSessionRequest) -> pb.DeleteSessionResponse:
        """DeleteSession; a propagation that runs finds the session gone."""
        answer, session_id = pb.DeleteSessionResponse(), request.session_id
        async with self._database.connection() as connection:
            if await answers.recall(connection, request, pb.DeleteSessionResponse):
                return answer
            await records.get(connection, session_id, lock=True)
            users = await jobs.unfinished(connection, session_id=session_id)
            if users:
                names = ", ".join(user.job_id for user in users[:10])
                what = f"jobs on the session have not finished: {names}"
                raise errors.failed_precondition(what, reason="IN_USE", jobs=names)
            await remove(connection, session_id)
            await answers.remember(connection, request, answer)
        self._held.forget(session_id)
        await loose.remove(self._database, self._store, records.below(session_id))
        return answer

    async def resume(self, request: pb.ResumeSessionRequest) -> pb.ResumeSessionResponse:
        """ResumeSession; errors as annotations.proto says."""
        async with self._database.connection() as connection:
            session = await records.get(connection, request.session_id)
            await records.used(connection, request.session_id)
        try:
            _, service = await self._calls.check(session.options)
        except errors.ServiceError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                what = f"the session's model is not there any more: {error.message}"
                raise errors.failed_precondition(what, reason="MODEL_GONE") from error
            raise
        self._held.wake(session.session_id).service = service
        return pb.ResumeSessionResponse(session=await self.get(session.session_id))

    async def awake(self, session_id: str) -> tuple[HeldSession, SessionRecord]:
        """A session in memory, to be looked at; raises ServiceError NOT_FOUND."""
        async with self._database.connection() as connection:
            session = await records.get(connection, session_id)
            if session_id not in self._held:
                await records.used(connection, session_id)
        return self._held.wake(session_id), session

    async def whole(self, connection: Connection, session_id: str) -> pb.Session:
        """A session with its objects."""
        session = await records.get(connection, session_id)
        objects = await records.objects(connection, session_id)
        prompted = await prompt_records.frames_of(connection, session_id)
        counts = mask_counts((await chunk_rows(connection, session_id)).values())
        told = [
            say.object_message(entry, prompted.get(number, []), counts.get(number, 0))
            for number, entry in objects.items()
        ]
        stale = union(*(entry.stale for entry in objects.values()))
        message = self._message(session, stale)
        message.objects.extend(told)
        return message

    async def _imported(
        self, request: pb.CreateSessionRequest, session_id: str, video: Video
    ) -> Imported:
        if not request.track_job_id:
            return Imported((), ())
        reader = await tracks_of_job(self._database, self._store, request.track_job_id)
        async with self._database.connection() as connection:
            job = await jobs.get(connection, request.track_job_id)
        size = (reader.manifest.height, reader.manifest.width)
        if job.video_id != video.video_id or size != (video.facts.height, video.facts.width):
            what = f"the track job is of another video, {job.video_id}"
            raise errors.failed_precondition(what, reason="TRACK_JOB_OF_OTHER_VIDEO")
        return await import_tracks(self._masks, session_id, reader)

    async def _stored(
        self,
        request: pb.CreateSessionRequest,
        new: NewSession,
        imported: Imported,
        service: media_pb2.ServiceInfo,
    ) -> pb.CreateSessionResponse:
        async with self._database.connection() as connection:
            if found := await answers.recall(connection, request, pb.CreateSessionResponse):
                return found
            # Locked, so that it is not deleted between this look and the end of the transaction.
            await videos.get(connection, new.video_id, lock=True)
            await records.add(connection, new)
            for entry in imported.objects:
                await records.put_object(connection, new.session_id, entry)
            await self._masks.keep(connection, new.session_id, imported.chunks)
            self._held.wake(new.session_id).service = service
            answer = pb.CreateSessionResponse(session=await self.whole(connection, new.session_id))
            await answers.remember(connection, request, answer)
        return answer

    def _message(self, session: SessionRecord, stale: Spans) -> pb.Session:
        held = self._held.find(session.session_id)
        service = held.service if held is not None else None
        return say.session_message(session, stale, awake=held is not None, service=service)


async def remove(connection: Connection, session_id: str) -> None:
    """Remove a session that is locked, with all it has."""
    await records.remove(connection, session_id)
    await loose.announce(connection, records.below(session_id))
