"""Clients that enrol, recognise and delete as they like, and the book they keep of the replies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import numpy as np
from kinemask.v1 import faces_pb2 as pb

from benchmarks.numbered_faces import source

if TYPE_CHECKING:
    from kinemask.v1.faces_pb2_grpc import FacesServiceAsyncStub

GALLERY = "bench"
_NEVER_S = float("inf")


@dataclass(frozen=True)
class Accepted:
    """A sample that was enrolled."""

    number: int
    person_id: str
    at_s: float
    """When the reply came."""


@dataclass(frozen=True)
class Deleted:
    """A deletion that was answered."""

    asked_s: float
    answered_s: float


@dataclass(frozen=True)
class Sighting:
    """One face that was recognised."""

    number: int
    asked_s: float
    answered_s: float
    sample_id: str
    """The best match's; empty if there was none."""
    similarity: float


@dataclass
class Ledger:
    """What was said of whom, and when."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    deleted: dict[str, Deleted] = field(default_factory=dict)
    people_deleted: dict[str, Deleted] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)
    people_made: int = 0

    def gone_s(self, sample_id: str, person_id: str) -> tuple[float, float]:
        """When its deletion was first asked for, and first answered; infinity for never."""
        ends = [self.deleted.get(sample_id), self.people_deleted.get(person_id)]
        known = [end for end in ends if end is not None]
        return (
            min((end.asked_s for end in known), default=_NEVER_S),
            min((end.answered_s for end in known), default=_NEVER_S),
        )


async def make_gallery(stub: FacesServiceAsyncStub) -> None:
    """An empty one."""
    await stub.CreateGallery(pb.CreateGalleryRequest(gallery_id=GALLERY))


class Operator:
    """One client that goes from replica to replica."""

    def __init__(
        self,
        stubs: Sequence[FacesServiceAsyncStub],
        ledger: Ledger,
        rng: np.random.Generator,
        people: int,
    ) -> None:
        self._stubs, self._ledger, self._rng, self._people = stubs, ledger, rng, people

    async def run(self, operations: int) -> None:
        """So many, one after the other."""
        for _ in range(operations):
            choice = self._rng.random()
            if choice < 0.55 or not self._ledger.accepted:
                await self._enrol()
            elif choice < 0.80:
                await self._recognise()
            elif choice < 0.98:
                await self._delete_sample()
            else:
                await self._delete_person()

    def _stub(self) -> FacesServiceAsyncStub:
        return self._stubs[int(self._rng.integers(len(self._stubs)))]

    def _any_sample(self) -> str:
        """Also one that may be deleted already."""
        known = list(self._ledger.accepted)
        return known[int(self._rng.integers(len(known)))]

    async def _person(self) -> str:
        """Somebody of the newest; made if there are too few."""
        ledger = self._ledger
        if ledger.people_made < self._people or self._rng.random() < 0.02:
            ledger.people_made += 1
            person_id = f"person{ledger.people_made}"
            await self._stub().CreatePerson(
                pb.CreatePersonRequest(
                    gallery_id=GALLERY, person_id=person_id, display_name=person_id
                )
            )
        newest = ledger.people_made
        oldest = max(1, newest - self._people)
        return f"person{int(self._rng.integers(oldest, newest + 1))}"

    async def _enrol(self) -> None:
        number, person_id = int(self._rng.integers(2**63)), await self._person()
        request = pb.EnrolSamplesRequest(
            gallery_id=GALLERY,
            person_id=person_id,
            samples=[pb.SampleInput(face=source(number), min_quality=0.0)],
        )
        try:
            reply = await self._stub().EnrolSamples(request)
        except grpc.aio.AioRpcError as error:
            _expect(error, grpc.StatusCode.NOT_FOUND)
            return
        [outcome] = reply.outcomes
        if not outcome.HasField("accepted"):
            raise AssertionError(f"expected an accepted sample, got {outcome}")
        accepted = Accepted(number, person_id, time.monotonic())
        self._ledger.accepted[outcome.accepted.sample_id] = accepted

    async def _recognise(self) -> None:
        number = self._ledger.accepted[self._any_sample()].number
        asked_s = time.monotonic()
        request = pb.RecogniseRequest(images=[source(number).image])
        request.options.gallery_id = GALLERY
        reply = await self._stub().Recognise(request)
        [face] = reply.results[0].faces
        self._ledger.sightings.append(
            Sighting(
                number,
                asked_s,
                time.monotonic(),
                face.best.sample_id,
                face.best.similarity,
            )
        )

    async def _delete_sample(self) -> None:
        sample_id, asked_s = self._any_sample(), time.monotonic()
        request = pb.DeleteSamplesRequest(gallery_id=GALLERY, sample_ids=[sample_id])
        try:
            await self._stub().DeleteSamples(request)
        except grpc.aio.AioRpcError as error:
            _expect(error, grpc.StatusCode.NOT_FOUND)
            return
        self._ledger.deleted[sample_id] = Deleted(asked_s, time.monotonic())

    async def _delete_person(self) -> None:
        person_id, asked_s = await self._person(), time.monotonic()
        request = pb.DeletePersonRequest(gallery_id=GALLERY, person_id=person_id)
        try:
            await self._stub().DeletePerson(request)
        except grpc.aio.AioRpcError as error:
            _expect(error, grpc.StatusCode.NOT_FOUND)
            return
        self._ledger.people_deleted[person_id] = Deleted(asked_s, time.monotonic())


def audit(ledger: Ledger, kept: set[str]) -> tuple[set[str], set[str]]:
    """Ids of samples that are lost, and of ghosts: in the database, and in what was recognised."""
    alive = {
        sample_id
        for sample_id, accepted in ledger.accepted.items()
        if ledger.gone_s(sample_id, accepted.person_id)[0] == _NEVER_S
    }
    lost, ghosts = alive - kept, kept - alive
    by_number = {one.number: sample_id for sample_id, one in ledger.accepted.items()}
    for sighting in ledger.sightings:
        sample_id = by_number[sighting.number]
        accepted = ledger.accepted[sample_id]
        asked_s, _ = ledger.gone_s(sample_id, accepted.person_id)
        there = accepted.at_s < sighting.asked_s and sighting.answered_s < asked_s
        if there and (sighting.sample_id != sample_id or sighting.similarity < 0.99):
            lost.add(sample_id)
        found = ledger.accepted.get(sighting.sample_id)
        if found is not None:
            _, answered_s = ledger.gone_s(sighting.sample_id, found.person_id)
            if answered_s < sighting.asked_s:
                ghosts.add(sighting.sample_id)
    return lost, ghosts


def _expect(error: grpc.aio.AioRpcError, code: grpc.StatusCode) -> None:
    """What others deleted meanwhile is not there."""
    if error.code() is not code:
        raise error
