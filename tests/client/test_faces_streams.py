"""Streams of client.faces on a running faces service, ordinary and for asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from kinemask import AsyncClient, Client, FaceVotes
from kinemask.errors import InvalidArgumentError, NotFoundError
from kinemask.faces import FaceRegion
from kinemask_chassis.server import RunningServer

from tests.client.test_faces import client, disc_service, server
from tests.faces.faces_kit import ALICE, BOB, drawn, one_disc
from tests.postgres_kit import postgres

__all__ = ["client", "disc_service", "postgres", "server"]

REGION_OF_ALICE = FaceRegion(7, (70.0, 70.0, 170.0, 170.0))


def alice_on_a_frame() -> np.ndarray:
    return drawn((ALICE, (120, 120), 50))


@pytest.fixture
def of_alice(client: Client) -> Iterator[Client]:
    client.faces.create_person("friends", "Alice", person_id="alice")
    assert all(client.faces.enrol("friends", "alice", [one_disc(ALICE)]))
    yield client


def test_every_face_of_an_enrolment_stream_is_answered_in_order(client: Client) -> None:
    with client.faces.enrol_stream("friends", create_people=True) as stream:
        ids = [
            stream.send("alice", one_disc(ALICE), name="Alice", source="a.png"),
            stream.send("alice", one_disc(ALICE)),
            stream.send("bob", one_disc(BOB)),
            stream.send("bob", drawn()),
        ]
        stream.finish()
        answers = list(stream)
    assert [answer.frame_id for answer in answers] == ids
    first, twice, bob, empty = [answer.enrolled for answer in answers]
    assert first and first.sample is not None and first.sample.source == "a.png"
    assert bob and twice is not None and twice.problem == "duplicate"
    assert empty is not None and empty.problem == "no face"
    assert {one.person_id: one.name for one in client.faces.people("friends")} == {
        "alice": "Alice",
        "bob": "bob",
    }


def test_somebody_who_is_not_there_is_an_error_of_that_face_alone(of_alice: Client) -> None:
    with of_alice.faces.enrol_stream("friends") as stream:
        stream.send("nobody", one_disc(BOB))
        stream.send("alice", one_disc(ALICE))
        stream.finish()
        unknown, known = stream
    assert isinstance(unknown.error, NotFoundError) and unknown.enrolled is None
    assert known.ok


def test_an_unknown_gallery_refuses_the_stream(client: Client) -> None:
    with pytest.raises(NotFoundError), client.faces.enrol_stream("nowhere"):
        pass


def test_a_name_needs_the_votes_that_were_asked_for(of_alice: Client) -> None:
    votes = FaceVotes(min_votes=2, recheck_every_n_frames=1)
    with of_alice.faces.recognise_stream("friends", votes=votes, own_tracks=True) as stream:
        for _ in range(3):
            stream.send(alice_on_a_frame(), [REGION_OF_ALICE])
        stream.finish()
        tracks = [answer.tracks[0] for answer in stream]
    assert [track.decision for track in tracks] == ["undecided", "known", "known"]
    assert {track.track_id for track in tracks} == {7}
    assert tracks[-1].best is not None and tracks[-1].best.name == "Alice"
    assert tracks[-1].votes == 3 and tracks[-1].observation is not None


def test_a_correction_is_remembered_and_ended_tracks_begin_anew(of_alice: Client) -> None:
    votes = FaceVotes(min_votes=1, recheck_every_n_frames=1)
    with of_alice.faces.recognise_stream("friends", votes=votes, own_tracks=True) as stream:
        answers = iter(stream)
        stream.send(alice_on_a_frame(), [REGION_OF_ALICE])
        assert next(answers).tracks[0].decision == "known"
        refused = stream.correct(7, "alice", is_person=False)
        ended = stream.end_tracks([7])
        stream.send(alice_on_a_frame(), [REGION_OF_ALICE])
        again = next(answers).tracks[0]
        refused.result(30)
        ended.result(30)
    assert again.best is None
    [rejection] = of_alice.faces.rejections("friends")
    assert rejection.person_id == "alice"


def test_the_service_makes_tracks_of_its_own(of_alice: Client) -> None:
    with of_alice.faces.recognise_stream("friends", votes=FaceVotes(min_votes=1)) as stream:
        stream.send(alice_on_a_frame())
        stream.finish()
        [answer] = stream
    assert (answer.height, answer.width) == alice_on_a_frame().shape[:2]
    assert [track.decision for track in answer.tracks] == ["known"]


@pytest.mark.parametrize(
    "threshold",
    [pytest.param(float("nan"), id="no number"), pytest.param(2.0, id="out of range")],
)
def test_a_threshold_that_is_none_is_refused(client: Client, threshold: float) -> None:
    stream = client.faces.recognise_stream("friends", threshold=threshold)
    with pytest.raises(InvalidArgumentError, match="threshold"), stream:
        pass


async def test_the_same_for_asyncio(of_alice: Client, server: RunningServer) -> None:
    async with AsyncClient(server.address, jpeg_quality=None) as aio:
        async with aio.faces.enrol_stream("friends", create_people=True) as enrolling:
            await enrolling.send("bob", one_disc(BOB), name="Bob")
            await enrolling.finish()
            [enrolled] = [answer async for answer in enrolling]
        votes = FaceVotes(min_votes=1)
        async with aio.faces.recognise_stream("friends", votes=votes) as naming:
            await naming.send(drawn((BOB, (120, 120), 50)))
            await naming.finish()
            [named] = [answer async for answer in naming]
    assert enrolled.enrolled
    assert named.tracks[0].best is not None and named.tracks[0].best.name == "Bob"
