"""One EnrolStream: thousands of samples, each answered once it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from google.protobuf.message import Message
from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.database import Connection
from kinemask_chassis.streams import Policy, StreamPlan, StreamTerms

from kinemask_faces.enrolling import Asked, Read, outcome_of, read_sample, with_models
from kinemask_faces.gallery import samples
from kinemask_faces.gallery.records import Done, NewSample, Sample
from kinemask_faces.gallery.samples import ModelsChangedError
from kinemask_faces.messages import who
from kinemask_faces.parts import FaceParts, request_key
from kinemask_faces.requests import check_new_id, check_text
from kinemask_faces.runner import ModelRunner

Plan: TypeAlias = "StreamPlan[faces_pb2.EnrolFrame, Message, Read, faces_pb2.SampleOutcome]"
_STATE = b"enrol"
"""What is stored is stored: there is nothing else to go on from."""
_DEPTH = 8


class EnrolHandler:
    """A `StreamHandler`; see there for who calls what when.

    Pictures are read ahead; samples are stored one by one, in order, so that those of one person
    are seen as duplicates of one another.
    """

    def __init__(self, parts: FaceParts, config: faces_pb2.EnrolStreamConfig) -> None:
        self._parts, self._config = parts, config
        self._runners: Sequence[ModelRunner] = ()

    @property
    def depth(self) -> int:
        return _DEPTH

    async def prepare(self, frame: faces_pb2.EnrolFrame) -> Read:
        """Read the face, for the models that the gallery has now."""
        check_text(frame)
        if self._config.create_people:
            check_new_id("frame.person_id", frame.person_id)
        if not self._runners:
            self._runners = await self._parts.gallery_runners(self._config.gallery_id)
        return await self._read(frame, self._runners)

    async def step(self, frame: faces_pb2.EnrolFrame, prepared: Read) -> faces_pb2.SampleOutcome:
        """Store it."""
        if isinstance(prepared, faces_pb2.SampleRefusal):
            return faces_pb2.SampleOutcome(refused=prepared)
        try:
            return await self._stored(frame, prepared)
        except ModelsChangedError:
            return await self._again(frame)

    async def finish(
        self, frame: faces_pb2.EnrolFrame, raw: faces_pb2.SampleOutcome
    ) -> faces_pb2.EnrolStreamResult:
        return faces_pb2.EnrolStreamResult(frame_id=frame.frame_id, outcome=raw)

    async def apply(self, edit: Message, frame_id: int, prepared: Read | None) -> int:
        """This stream has no edits."""
        raise errors.unimplemented("an enrolment has nothing to edit")

    async def snapshot(self) -> bytes:
        return _STATE

    async def close(self) -> None:
        """Nothing is held."""

    async def _read(self, frame: faces_pb2.EnrolFrame, runners: Sequence[ModelRunner]) -> Read:
        asked = Asked(frame.person_id, frame.sample, "frame.sample", frame.display_name)
        return await read_sample(self._parts, runners, self._config.gallery_id, asked)

    async def _again(self, frame: faces_pb2.EnrolFrame) -> faces_pb2.SampleOutcome:
        async def work(runners: Sequence[ModelRunner]) -> faces_pb2.SampleOutcome:
            self._runners = runners
            read = await self._read(frame, runners)
            if isinstance(read, faces_pb2.SampleRefusal):
                return faces_pb2.SampleOutcome(refused=read)
            return await self._stored(frame, read)

        return await with_models(self._parts, self._config.gallery_id, work)

    async def _stored(self, frame: faces_pb2.EnrolFrame, new: NewSample) -> faces_pb2.SampleOutcome:
        gallery_id, create = self._config.gallery_id, self._config.create_people

        async def work(connection: Connection) -> Done:
            [stored] = await samples.enrol(connection, gallery_id, [new], create_people=create)
            if isinstance(stored, errors.ServiceError):
                raise stored
            kept = (stored.sample_id,) if isinstance(stored, Sample) else ()
            outcome = outcome_of(stored)
            return Done(outcome.SerializeToString(), gallery_id, (new.person_id,), kept)

        # The frame's number is of its stream; the same sample may come under another one.
        bare = faces_pb2.EnrolFrame()
        bare.CopyFrom(frame)
        bare.frame_id = 0
        answer = await self._parts.access.store.once(request_key(bare), work)
        return faces_pb2.SampleOutcome.FromString(answer)


class EnrolOpener:
    """Opens enrolment streams."""

    def __init__(self, parts: FaceParts) -> None:
        self._parts = parts

    async def open(self, config: faces_pb2.EnrolStreamConfig, terms: StreamTerms) -> Plan:
        """A stream of samples for a gallery.

        Raises:
            ServiceError: NOT_FOUND (gallery), FAILED_PRECONDITION (weights), UNAVAILABLE,
                INVALID_ARGUMENT: policy LATEST.
        """
        check_text(config)
        if terms.policy is Policy.LATEST:
            what = "expected BLOCK or REJECT: no sample is dropped unasked, got LATEST"
            raise errors.invalid("config.stream.policy", what)
        if terms.state not in (b"", _STATE):
            why = "resume_token: it holds something else than an enrolment"
            raise errors.data_loss(why, reason="RESUME_TOKEN_DAMAGED")
        runners = await self._parts.gallery_runners(config.gallery_id)
        effective = faces_pb2.EnrolStreamConfig()
        effective.CopyFrom(config)
        terms.fill_in(effective.stream)
        started = faces_pb2.EnrolStreamStarted(config=effective)
        service = who(self._parts.models.choose(runners[0].model.info.name))
        return StreamPlan(EnrolHandler(self._parts, config), started, service)
