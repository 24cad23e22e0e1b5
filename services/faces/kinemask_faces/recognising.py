"""Whose faces these are: looked up in a gallery, and enrolled where that is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import grpc
from kinemask.v1 import faces_pb2
from kinemask_chassis import errors
from kinemask_chassis.database import Connection

from kinemask_faces.crops import difference_hash, read_crop
from kinemask_faces.enrolling import with_models
from kinemask_faces.gallery import people, rejections, samples
from kinemask_faces.gallery.records import (
    Done,
    NewRejection,
    NewSample,
    Person,
    RequestKey,
    StrangerOutcome,
    StrangerRules,
)
from kinemask_faces.gallery_messages import action_to_message, match_to_message
from kinemask_faces.lookup import Finding, LookupTerms, SettledStranger, judged
from kinemask_faces.messages import face_to_message
from kinemask_faces.parts import FaceParts
from kinemask_faces.requests import metadata_message
from kinemask_faces.runner import ModelRunner
from kinemask_faces.seen import SeenFace


class Recogniser:
    """Looks faces up."""

    def __init__(self, parts: FaceParts) -> None:
        self._parts = parts

    async def find(self, terms: LookupTerms, faces: Sequence[SeenFace]) -> list[Finding]:
        """One finding a face, in order; nothing is enrolled.

        Raises:
            ServiceError: NOT_FOUND (gallery), FAILED_PRECONDITION (NOT_EMBEDDED), UNAVAILABLE.
        """
        good = [face for face in faces if face.quality.score >= terms.min_quality]
        matches = await self._parts.access.store.search(
            terms.gallery_id, terms.key, [face.vector for face in good], very_like=terms.very_like
        )
        found = iter(matches)
        return [
            judged(terms, face, next(found))
            if face.quality.score >= terms.min_quality
            else Finding(face, faces_pb2.FACE_DECISION_TOO_POOR)
            for face in faces
        ]

    async def find_or_enrol(self, terms: LookupTerms, faces: Sequence[SeenFace]) -> list[Finding]:
        """The same; unknown faces become strangers where the terms say so.

        Raises:
            ServiceError: as `find`.
        """
        findings = await self.find(terms, faces)
        for finding in findings:
            worth = self.is_strange(terms, finding)
            again = finding.decision == faces_pb2.FACE_DECISION_STRANGER
            if terms.strangers is not None and (worth or again):
                settled = await self.enrol_stranger(terms, [finding.seen])
                if settled is not None:
                    finding.take_stranger(settled)
        return findings

    def is_strange(self, terms: LookupTerms, finding: Finding) -> bool:
        """True for a good face that is like nobody."""
        rules = terms.strangers
        if rules is None or finding.decision != faces_pb2.FACE_DECISION_UNKNOWN:
            return False
        quality = finding.seen.quality
        alike = -1.0 if finding.best is None else finding.best.similarity
        good = quality.problem is None and quality.score >= rules.min_quality
        return good and (finding.best is None or alike < rules.new_below)

    async def enrol_stranger(
        self, terms: LookupTerms, faces: Sequence[SeenFace]
    ) -> SettledStranger | None:
        """Make a stranger of these faces of one person, or find the one there is.

        None: it turns out to be somebody with a name.

        Raises:
            ServiceError: as `find`.
        """
        settled: SettledStranger | None = None
        for face in faces:
            outcome = await self._settled(terms, face)
            best = outcome.matches[0] if outcome.matches else None
            if best is None or not best.stranger or best.similarity < terms.threshold:
                continue
            made = outcome.made or (settled is not None and settled.made)
            match = match_to_message(best, terms.include_metadata)
            settled = SettledStranger(match, made)
        return settled

    async def enrol_as(
        self, terms: LookupTerms, seen: SeenFace, person_id: str, request_id: str
    ) -> faces_pb2.FaceMatch:
        """Keep a face as a sample of a person; a repeat of the request changes nothing.

        Raises:
            ServiceError: NOT_FOUND (gallery or person), UNAVAILABLE.
        """

        async def enrol(runners: Sequence[ModelRunner]) -> Person:
            new = replace(await self._sample(terms, seen, runners), person_id=person_id)

            async def work(connection: Connection) -> Done:
                [stored] = await samples.enrol(connection, terms.gallery_id, [new])
                if isinstance(stored, errors.ServiceError):
                    raise stored
                return Done(b"", terms.gallery_id, (person_id,))

            await self._parts.access.store.once(_edit_key(terms, person_id, request_id), work)
            async with self._parts.access.store.read() as connection:
                return await people.get(connection, terms.gallery_id, person_id)

        person = await with_models(self._parts, terms.gallery_id, enrol)
        return faces_pb2.FaceMatch(
            person_id=person.person_id,
            display_name=person.display_name,
            similarity=1.0,
            action=action_to_message(person.action),
            metadata=metadata_message(person.metadata_json) if terms.include_metadata else None,
            stranger=person.stranger,
        )

    async def reject(
        self, terms: LookupTerms, seen: SeenFace, person_id: str, request_id: str
    ) -> None:
        """Remember that a face is not a person; a repeat of the request changes nothing.

        Raises:
            ServiceError: NOT_FOUND (gallery or person), UNAVAILABLE.
        """

        async def keep(runners: Sequence[ModelRunner]) -> None:
            vectors, _ = await self._parts.sources.vectors(seen, terms.key, runners)
            new = NewRejection(person_id, seen.crop, vectors)

            async def work(connection: Connection) -> Done:
                await rejections.add(connection, terms.gallery_id, new)
                return Done(b"", terms.gallery_id, (person_id,))

            await self._parts.access.store.once(_edit_key(terms, person_id, request_id), work)

        await with_models(self._parts, terms.gallery_id, keep)

    async def _settled(self, terms: LookupTerms, face: SeenFace) -> StrangerOutcome:
        strangers = terms.strangers
        if strangers is None:
            raise ValueError("expected terms that enrol strangers, got others")
        rules = StrangerRules(terms.threshold, strangers.new_below, strangers.max_samples)

        async def settle(runners: Sequence[ModelRunner]) -> StrangerOutcome:
            sample = await self._sample(terms, face, runners)
            return await self._parts.access.store.settle_stranger(
                terms.gallery_id, terms.key, sample, rules, very_like=terms.very_like
            )

        return await with_models(self._parts, terms.gallery_id, settle)

    async def exists(self, terms: LookupTerms, person_id: str) -> bool:
        """Whether the gallery has a person of that id; True while nobody can say."""
        try:
            async with self._parts.access.store.read() as connection:
                await people.get(connection, terms.gallery_id, person_id)
        except errors.ServiceError as error:
            return error.code is not grpc.StatusCode.NOT_FOUND
        return True

    async def to_message(self, terms: LookupTerms, finding: Finding) -> faces_pb2.RecognisedFace:
        """One face and whose it is."""
        face = face_to_message(finding.seen.face, finding.seen.quality)
        if terms.include_face_tokens:
            face.face_token = await self._token(terms, finding.seen)
        message = faces_pb2.RecognisedFace(
            face=face,
            decision=finding.decision,
            best=finding.best,
            runner_up=finding.runner_up,
            new_stranger=finding.new_stranger,
        )
        if finding.best is not None and finding.runner_up is not None:
            message.margin = finding.best.similarity - finding.runner_up.similarity
        return message

    async def _token(self, terms: LookupTerms, seen: SeenFace) -> bytes:
        tokens = await self._parts.access.tokens()
        model = terms.model
        return await self._parts.looker.off_loop(
            tokens.make, seen, terms.gallery_id, model.name, model.revision
        )

    async def _sample(
        self, terms: LookupTerms, seen: SeenFace, runners: Sequence[ModelRunner]
    ) -> NewSample:
        pixels = await self._parts.looker.off_loop(read_crop, seen.crop.jpeg)
        vectors, _ = await self._parts.sources.vectors(seen, terms.key, runners)
        return NewSample(
            person_id="",
            face=seen.face,
            quality=seen.quality,
            crop=seen.crop,
            vectors=vectors,
            fingerprint=difference_hash(pixels),
            source="recognition",
        )


def _edit_key(terms: LookupTerms, person_id: str, request_id: str) -> RequestKey:
    content = hashlib.sha256(f"{terms.gallery_id}\n{person_id}".encode()).digest()
    return RequestKey("RecogniseStreamEdit", request_id, content)
