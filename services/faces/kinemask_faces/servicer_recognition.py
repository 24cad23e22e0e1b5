"""Recognise and RecogniseStream: whose faces these are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

from google.rpc import status_pb2
from kinemask.v1 import faces_pb2, faces_pb2_grpc, media_pb2
from kinemask_chassis.database import Connection
from kinemask_chassis.streams import StreamObserver, StreamPlan, StreamServer, StreamTerms

from kinemask_faces.gallery.records import Done
from kinemask_faces.lookup import LookupTerms, terms_of
from kinemask_faces.messages import DEFAULT_MAX_FACES, who
from kinemask_faces.parts import Context, FaceParts
from kinemask_faces.recognising import Recogniser
from kinemask_faces.requests import check_text
from kinemask_faces.runner import ModelRunner
from kinemask_faces.stream_edits import rules_to_message, vote_rules
from kinemask_faces.stream_recognise import NamedFrame, PreparedPicture, RecogniseHandler

Plan: TypeAlias = (
    "StreamPlan[faces_pb2.RecogniseFrame, faces_pb2.RecogniseStreamEdit, PreparedPicture, "
    "NamedFrame]"
)


class RecognitionServicer(faces_pb2_grpc.FacesServiceServicer):
    """One of the classes that `FacesServicer` is put together from."""

    _parts: FaceParts
    _recogniser: Recogniser
    streams: StreamServer
    _recognise_observer: StreamObserver

    async def Recognise(
        self, request: faces_pb2.RecogniseRequest, context: Context
    ) -> faces_pb2.RecogniseResponse:
        check_text(request)
        options = request.options
        runner = await self._parts.search_runner(options.gallery_id, options.model)
        terms = terms_of(options, runner.model.info)

        async def name(image: media_pb2.Image, field: str) -> faces_pb2.ImageRecognition:
            return await self._named(runner, terms, image, field)

        reply = faces_pb2.RecogniseResponse(
            results=await self._parts.looker.each(request.images, "images", name, _failed),
            threshold=terms.threshold,
        )
        if request.request_id and terms.strangers is not None:
            reply = await self._first_answer(request, reply)
        reply.service.CopyFrom(who(self._parts.models.choose(runner.model.info.name)))
        return reply

    async def RecogniseStream(  # type: ignore[override]  # the stubs know no handler that writes through its context
        self, request_iterator: AsyncIterator[faces_pb2.RecogniseStreamRequest], context: Context
    ) -> None:
        await self.streams.serve(
            "RecogniseStream",
            request_iterator,
            context.write,
            faces_pb2.RecogniseStreamResponse,
            self._open_recognition,
            self._recognise_observer,
        )

    async def _named(
        self, runner: ModelRunner, terms: LookupTerms, image: media_pb2.Image, field: str
    ) -> faces_pb2.ImageRecognition:
        picture = await self._parts.looker.see(runner, image, terms.query, field)
        findings = await self._recogniser.find_or_enrol(terms, picture.faces)
        return faces_pb2.ImageRecognition(
            faces=[await self._recogniser.to_message(terms, found) for found in findings],
            height=picture.height,
            width=picture.width,
            timing=picture.timing,
        )

    async def _first_answer(
        self, request: faces_pb2.RecogniseRequest, reply: faces_pb2.RecogniseResponse
    ) -> faces_pb2.RecogniseResponse:
        """What this request got before, if it did: who was new then is told as new again."""
        named = [face.best.person_id for result in reply.results for face in result.faces]
        done = Done(
            reply.SerializeToString(),
            request.options.gallery_id,
            tuple(sorted({person_id for person_id in named if person_id})),
        )

        async def work(connection: Connection) -> Done:
            return done

        return await self._parts.once(request, faces_pb2.RecogniseResponse, work)

    async def _open_recognition(
        self, config: faces_pb2.RecogniseStreamConfig, terms: StreamTerms
    ) -> Plan:
        check_text(config)
        runner = await self._parts.search_runner(config.options.gallery_id, config.options.model)
        info = runner.model.info
        lookup = terms_of(config.options, info)
        effective = _effective(config, lookup)
        terms.fill_in(effective.stream)
        handler = RecogniseHandler(effective, lookup, runner, self._parts.looker, self._recogniser)
        if terms.state:
            handler.restore(terms.state)
        started = faces_pb2.RecogniseStreamStarted(config=effective)
        return StreamPlan(handler, started, who(self._parts.models.choose(info.name)))


def _effective(
    config: faces_pb2.RecogniseStreamConfig, terms: LookupTerms
) -> faces_pb2.RecogniseStreamConfig:
    """The config as it holds, defaults filled in."""
    effective = faces_pb2.RecogniseStreamConfig()
    effective.CopyFrom(config)
    options = effective.options
    options.model = terms.model.name
    options.threshold = terms.threshold
    options.min_margin = terms.min_margin
    options.detect.max_faces = options.detect.max_faces or DEFAULT_MAX_FACES
    if terms.strangers is not None:
        options.enrol_strangers.min_quality = terms.strangers.min_quality
        options.enrol_strangers.new_below_similarity = terms.strangers.new_below
        options.enrol_strangers.min_frames = terms.strangers.min_frames
        options.enrol_strangers.max_samples = terms.strangers.max_samples
    effective.votes.CopyFrom(rules_to_message(vote_rules(config.votes)))
    effective.tracking = config.tracking or faces_pb2.FACE_TRACKING_SERVICE
    return effective


def _failed(status: status_pb2.Status) -> faces_pb2.ImageRecognition:
    return faces_pb2.ImageRecognition(error=status)
