"""Samples: enrolled, listed, removed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from google.rpc import status_pb2
from kinemask.v1 import faces_pb2, faces_pb2_grpc
from kinemask_chassis.database import Connection
from kinemask_chassis.streams import StreamObserver, StreamServer

from kinemask_faces.enrolling import Asked, Read, outcome_of, read_sample, with_models
from kinemask_faces.gallery import people, samples
from kinemask_faces.gallery.records import Done, NewSample, PageQuery
from kinemask_faces.gallery_messages import person_to_message, sample_to_message
from kinemask_faces.messages import who
from kinemask_faces.parts import Context, FaceParts
from kinemask_faces.requests import check_text
from kinemask_faces.runner import ModelRunner
from kinemask_faces.stream_enrol import EnrolOpener

Readings: TypeAlias = "list[Read | status_pb2.Status]"


class SampleServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts
    streams: StreamServer
    _enrol_observer: StreamObserver

    async def EnrolSamples(
        self, request: faces_pb2.EnrolSamplesRequest, context: Context
    ) -> faces_pb2.EnrolSamplesResponse:
        check_text(request)
        async with self._parts.access.store.read() as connection:
            await people.get(connection, request.gallery_id, request.person_id)

        async def enrol(runners: Sequence[ModelRunner]) -> faces_pb2.EnrolSamplesResponse:
            readings = await self._read_all(request, runners)

            async def work(connection: Connection) -> Done:
                return await _store(connection, request, readings)

            reply = await self._parts.once(request, faces_pb2.EnrolSamplesResponse, work)
            reply.service.CopyFrom(who(self._parts.models.choose(runners[0].model.info.name)))
            return reply

        return await with_models(self._parts, request.gallery_id, enrol)

    async def EnrolStream(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[faces_pb2.EnrolStreamRequest], context: Context
    ) -> None:
        await self.streams.serve(
            "EnrolStream",
            request_iterator,
            context.write,
            faces_pb2.EnrolStreamResponse,
            EnrolOpener(self._parts).open,
            self._enrol_observer,
        )

    async def ListSamples(
        self, request: faces_pb2.ListSamplesRequest, context: Context
    ) -> faces_pb2.ListSamplesResponse:
        check_text(request)
        query = PageQuery(request.page_size, request.page_token)
        async with self._parts.access.store.read() as connection:
            page = await samples.page(
                connection, request.gallery_id, request.person_id, query, request.include_crops
            )
        return faces_pb2.ListSamplesResponse(
            samples=map(sample_to_message, page.entries), next_page_token=page.next_token
        )

    async def DeleteSamples(
        self, request: faces_pb2.DeleteSamplesRequest, context: Context
    ) -> faces_pb2.DeleteSamplesResponse:
        async def work(connection: Connection) -> Done:
            wanted = list(dict.fromkeys(request.sample_ids))
            count = await samples.delete(connection, request.gallery_id, wanted)
            reply = faces_pb2.DeleteSamplesResponse(sample_count=count)
            return Done(reply.SerializeToString())

        return await self._parts.once(request, faces_pb2.DeleteSamplesResponse, work)

    async def _read_all(
        self, request: faces_pb2.EnrolSamplesRequest, runners: Sequence[ModelRunner]
    ) -> Readings:
        """Every sample of the request; one that cannot be read does not cost the others."""

        async def one(sample: faces_pb2.SampleInput, field: str) -> Read | status_pb2.Status:
            asked = Asked(request.person_id, sample, field)
            return await read_sample(self._parts, runners, request.gallery_id, asked)

        def failed(status: status_pb2.Status) -> Read | status_pb2.Status:
            return status

        return await self._parts.looker.each(request.samples, "samples", one, failed)


async def _store(
    connection: Connection, request: faces_pb2.EnrolSamplesRequest, readings: Readings
) -> Done:
    new = [reading for reading in readings if isinstance(reading, NewSample)]
    stored = iter(await samples.enrol(connection, request.gallery_id, new))
    outcomes = []
    for reading in readings:
        if isinstance(reading, NewSample):
            outcomes.append(outcome_of(next(stored)))
        elif isinstance(reading, faces_pb2.SampleRefusal):
            outcomes.append(faces_pb2.SampleOutcome(refused=reading))
        else:
            outcomes.append(faces_pb2.SampleOutcome(error=reading))
    person = await people.get(connection, request.gallery_id, request.person_id)
    reply = faces_pb2.EnrolSamplesResponse(outcomes=outcomes, person=person_to_message(person))
    kept = [o.accepted.sample_id for o in outcomes if o.HasField("accepted")]
    return Done(reply.SerializeToString(), request.gallery_id, (request.person_id,), tuple(kept))
